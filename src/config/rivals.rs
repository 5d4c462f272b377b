//! What two projects cannot both have: a name, a container, a port of the host, an image they push to. Pure.

use std::collections::BTreeMap;

use crate::config::path::JsonPath;
use crate::config::ports;
use crate::config::problem::Problems;
use crate::config::project::Project;
use crate::config::settings::PortMapping;
use crate::config::settings::Protocol;
use crate::config::settings::WebhookSettings;
use crate::model::ImageName;
use crate::model::ProjectName;

/// What a project takes for itself, as far as it could be read.
#[derive(Debug)]
pub struct Claim {
    path: JsonPath,
    name: Option<ProjectName>,
    container: Option<String>,
    pushed_image: Option<ImageName>,
    ports: Vec<(PortMapping, JsonPath)>,
}

impl Claim {
    /// The claim of the project at `path`, which is called `name`.
    pub fn of(written: &Project, name: Option<&ProjectName>, path: &JsonPath) -> Self {
        let deploy = written.deploy.as_ref();
        let given = deploy.and_then(|deploy| deploy.container.as_ref()).map(ToString::to_string);
        let image = written.image.as_ref().and_then(|image| image.name.clone());
        let ports_path = path.key("deploy").key("ports");
        let ports = deploy.iter().flat_map(|deploy| &deploy.ports).enumerate();
        Self {
            path: path.clone(),
            name: name.cloned(),
            container: deploy.and(given.or_else(|| name.map(ToString::to_string))),
            pushed_image: image.filter(|_| written.repository.is_some()),
            ports: ports
                .filter_map(|(index, text)| Some((ports::port_mapping(text).ok()?, ports_path.index(index))))
                .collect(),
        }
    }
}

/// Refuses what a later project takes from an earlier one, or from the webhook.
pub fn check(claims: &[Claim], webhook: Option<&WebhookSettings>, problems: &mut Problems<'_>) {
    names(claims, problems);
    containers(claims, problems);
    images(claims, problems);
    host_ports(claims, webhook, problems);
}

fn names(claims: &[Claim], problems: &mut Problems<'_>) {
    let mut taken = BTreeMap::new();
    for claim in claims {
        let Some(name) = &claim.name else { continue };
        if let Some(first) = taken.get(name) {
            let line = problems.line_of(first);
            let message =
                format!("the project on {line} is called `{name}` too: give one of them another `name`");
            problems.refuse(&claim.path.key("name"), message);
        } else {
            taken.insert(name, claim.path.clone());
        }
    }
}

/// During a swap a project has three containers: `NAME`, `NAME.next` and `NAME.previous`.
fn containers(claims: &[Claim], problems: &mut Problems<'_>) {
    let mut taken: BTreeMap<String, JsonPath> = BTreeMap::new();
    for claim in claims {
        let Some(name) = &claim.container else { continue };
        // A second project of one name has a container of one name: said once.
        if problems.has_refused(&claim.path.key("name")) {
            continue;
        }
        let own = [name.clone(), format!("{name}.next"), format!("{name}.previous")];
        if let Some((clash, first)) = own.iter().find_map(|name| Some((name, taken.get(name)?))) {
            let message = format!(
                "the project on {} has a container `{clash}` too: give one of them another `container` (each project \
                 uses `NAME`, `NAME.next` and `NAME.previous`)",
                problems.line_of(first)
            );
            problems.refuse(&claim.path.key("deploy").key("container"), message);
        } else {
            taken.extend(own.map(|name| (name, claim.path.clone())));
        }
    }
}

/// Two counters for one image would take each other's versions for their own.
fn images(claims: &[Claim], problems: &mut Problems<'_>) {
    let mut taken = BTreeMap::new();
    for claim in claims {
        let Some(image) = &claim.pushed_image else { continue };
        if let Some(first) = taken.get(image) {
            let message = format!(
                "the project on {} pushes to `{image}` too, and each would deploy the other's versions: give one of \
                 them another image",
                problems.line_of(first)
            );
            problems.refuse(&claim.path.key("image").key("name"), message);
        } else {
            taken.insert(image, claim.path.clone());
        }
    }
}

fn host_ports(claims: &[Claim], webhook: Option<&WebhookSettings>, problems: &mut Problems<'_>) {
    // By host port, so that a thousand projects are not compared with each other.
    let mut taken: BTreeMap<u16, Vec<(PortMapping, JsonPath)>> = BTreeMap::new();
    if let Some(webhook) = webhook {
        let (address, port) = (Some(webhook.listen.ip()), webhook.listen.port());
        let mapping = PortMapping { address, host: port, container: port, protocol: Protocol::Tcp };
        taken.entry(port).or_default().push((mapping, JsonPath::root().key("webhook").key("listen")));
    }
    for (port, path) in claims.iter().flat_map(|claim| &claim.ports) {
        let others = taken.entry(port.host).or_default();
        if let Some((_, first)) = others.iter().find(|(other, _)| ports::clash(port, other)) {
            let (host, line) = (port.host, problems.line_of(first));
            let message = format!("`{port}`: the host's port {host} is taken already by `{first}` on {line}");
            problems.refuse(path, message);
        } else {
            others.push((port.clone(), path.clone()));
        }
    }
}
