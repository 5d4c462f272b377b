//! A build by the classic builder, which is sent all files as one archive.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::query_parameters::BuildImageOptions;
use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt;

use crate::clients::docker::BuildError;
use crate::clients::docker::BuildRequest;
use crate::clients::docker::Docker;
use crate::clients::docker::build::Unread;
use crate::clients::docker::build::failure;
use crate::clients::docker::error::Attempt;
use crate::clients::docker::progress::BuildProgress;
use crate::clients::docker::registry::credentials;
use crate::config::settings::Login;
use crate::fault_point::Effect;

/// What a build gets of the processors where what serves wants them too; Docker's default is 1024. The classic builder
/// keeps to it. BuildKit takes no such number: what its `RUN` lines get is as its engine is set up.
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
        let api = self.changing(effect, attempt, request.timeout)?;
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

/// The login under the name by which the classic builder looks for it.
fn logins_for(registry: &str, login: &Login) -> Option<HashMap<String, DockerCredentials>> {
    let key = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    credentials(registry, Some(login)).map(|login| HashMap::from([(key.to_owned(), login)]))
}
