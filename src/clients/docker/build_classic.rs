//! A build by the classic builder, which is sent all files as one archive.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bollard::BollardRequest;
use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::query_parameters::BuildImageOptions;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt;
use http::Uri;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

use crate::clients::docker::BuildError;
use crate::clients::docker::BuildRequest;
use crate::clients::docker::Docker;
use crate::clients::docker::build::Unread;
use crate::clients::docker::build::failure;
use crate::clients::docker::error::Attempt;
use crate::clients::docker::progress::BuildProgress;
use crate::clients::docker::registry::credentials;
use crate::clients::docker::with_url_safe_login;
use crate::config::settings::Login;
use crate::fault_point::Effect;

/// What a build gets of the processors where what serves wants them too; Docker's default is 1024. The classic builder
/// keeps to it. BuildKit takes no such number, but from Docker 23 on a cgroup, which may have one.
const CPU_SHARES: i32 = 256;

impl Docker {
    /// Builds with these options. The id of the image, if the builder says it.
    pub(super) async fn build_classic(
        &self,
        effect: &Effect,
        attempt: &Attempt<'_>,
        request: &BuildRequest<'_>,
        options: BuildImageOptions,
        unread: &Unread,
        progress: &mut BuildProgress<'_>,
    ) -> Result<Option<String>, BuildError> {
        let mut api = self.changing(effect, attempt, request.timeout)?;
        if let Some(parent) = request.cgroup_parent {
            let part = format!("&cgroupparent={}", utf8_percent_encode(parent, NON_ALPHANUMERIC));
            api = api.with_request_modifier(move |request| asking_also(with_url_safe_login(request), &part));
        }
        let logins = request.login.and_then(|(registry, login)| logins_for(registry, login));
        let body = body_try_stream(unread.watch(request.context.tar()));
        let mut stream = api.build_image(options, logins, Some(body));
        while let Some(message) = stream.next().await {
            match message {
                Ok(message) => progress.take(message),
                Err(error) => {
                    return Err(unread.cause().unwrap_or_else(|| failure(attempt, error, progress)));
                }
            }
        }
        Ok(progress.image_id().map(ToOwned::to_owned))
    }
}

/// How the builder is to go about it.
pub(super) fn classic_options(request: &BuildRequest<'_>, is_without_cache: bool) -> BuildImageOptions {
    let map =
        |pairs: &BTreeMap<String, String>| -> HashMap<String, String> { pairs.clone().into_iter().collect() };
    let mut options = BuildImageOptionsBuilder::default()
        .dockerfile(request.dockerfile)
        .buildargs(&map(request.args))
        .labels(&map(request.labels))
        .platform(&request.platform.map(ToString::to_string).unwrap_or_default())
        .target(request.target.unwrap_or_default())
        .cpushares(CPU_SHARES)
        .nocache(is_without_cache)
        .rm(true)
        .forcerm(true);
    if let Some(name) = request.names.first() {
        options = options.t(&name.to_string());
    }
    if !request.has_network {
        options = options.networkmode("none");
    }
    options.build()
}

/// Asks in its query for what bollard has no word for.
fn asking_also(mut request: BollardRequest, part: &str) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map(ToString::to_string).unwrap_or_default();
    parts.path_and_query = format!("{path}{part}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// The login under the name by which the classic builder looks for it.
fn logins_for(registry: &str, login: &Login) -> Option<HashMap<String, DockerCredentials>> {
    let key = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    credentials(registry, Some(login)).map(|login| HashMap::from([(key.to_owned(), login)]))
}
