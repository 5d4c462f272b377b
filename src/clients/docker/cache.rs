//! The engine's build cache, which makes the next build quick and would fill the card if nobody looked after it.

use bollard::BollardRequest;
use bollard::query_parameters::PruneBuildOptionsBuilder;

use crate::clients::docker::Docker;
use crate::clients::docker::DockerError;
use crate::clients::docker::SILENCE;
use crate::clients::docker::with_url_safe_login;
use crate::clients::docker::within;
use crate::fault_point::Effect;

impl Docker {
    /// Removes what was used longest ago until the cache that no image needs takes at most `budget` bytes. Gives the
    /// number of bytes that were freed.
    ///
    /// # Errors
    /// As for any call.
    pub async fn trim_build_cache(&self, budget: u64) -> Result<u64, DockerError> {
        let attempt = self.attempt("trim the build cache");
        let effect = Effect::begin("docker", "trim-cache");
        let budget = i64::try_from(budget).unwrap_or(i64::MAX);
        let options =
            PruneBuildOptionsBuilder::default().reserved_space(budget).max_used_space(budget).build();
        let api = self.changing(&effect, &attempt, SILENCE)?.with_request_modifier(in_both_languages);
        let pruned = within(&attempt, SILENCE, api.prune_build(Some(options))).await?;
        Ok(pruned.space_reclaimed.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0))
    }
}

/// Engines before 28 (API 1.48) know the same limit as `keep-storage`, and take a question without it for the wish to
/// remove everything.
fn in_both_languages(mut request: BollardRequest) -> BollardRequest {
    let text = request.uri().to_string();
    let limit = text.split(['?', '&']).find_map(|part| part.strip_prefix("reserved-space="));
    if let Some(uri) = limit.and_then(|limit| format!("{text}&keep-storage={limit}").parse().ok()) {
        *request.uri_mut() = uri;
    }
    with_url_safe_login(request)
}
