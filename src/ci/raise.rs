//! By how much the next version is raised. Where the messages decide, it is those of all commits since the version
//! before: several may have been pushed together, or one of them have failed its tests and been mended by the next.

use crate::config::project::BumpRule;
use crate::config::settings::SourceSettings;
use crate::model::Blame;
use crate::model::Bump;
use crate::model::Commit;
use crate::model::Stage;
use crate::model::StageError;
use crate::model::Tag;
use crate::run::Run;
use crate::run::failed;
use crate::tag;

/// The part that the owner's rule raises, above the versions that are `taken`.
///
/// # Errors
/// The database cannot be read. That GitHub does not say what came since is no reason not to push.
pub async fn raise(
    run: &Run,
    source: &SourceSettings,
    commit: &Commit,
    taken: &[Tag],
) -> Result<Bump, StageError> {
    let rule = source.build.bump;
    let marked = match rule {
        BumpRule::Patch | BumpRule::Minor | BumpRule::Major => commit.bump,
        BumpRule::Conventional => marked_since(run, source, commit).await?,
    };
    Ok(tag::bump(rule, marked, taken))
}

/// What all commits since the newest version say; where that is not known, the run's own commit.
async fn marked_since(run: &Run, source: &SourceSettings, commit: &Commit) -> Result<Bump, StageError> {
    let base = run.clients.store.last_pushed(run.project.name.clone()).await;
    let base = base.map_err(failed(Stage::Push, Blame::World))?;
    // The first version raises nothing, and the same commit has nothing new to say.
    let Some(base) = base.filter(|base| *base != commit.sha) else { return Ok(commit.bump) };
    let since = format!("since the last version, of commit {},", base.short());
    let alone = "the message of this commit alone says by how much the version is raised";
    if run.clients.knows_by_git_alone(source) {
        let unknown = format!("without `github.token` it is not known what came {since} so");
        run.log.line(Stage::Push, &format!("{unknown} {alone}"));
        return Ok(commit.bump);
    }
    let unknown = match run.clients.github.messages(&source.repository, &base, &commit.sha).await {
        Ok(Some(messages)) => {
            if messages.left_out > 0 {
                let (read, more) = (messages.read.len(), messages.left_out);
                run.log.line(
                    Stage::Push,
                    &format!("of the commits {since} the newest {read} were read, {more} were not"),
                );
            }
            return Ok(commit.bump.max(Bump::marked_in_any(messages.read.iter().map(String::as_str))));
        }
        Ok(None) => format!("GitHub cannot say what came {since} perhaps since history was rewritten"),
        Err(error) => format!("GitHub does not say what came {since} ({:#})", anyhow::Error::from(error)),
    };
    run.log.line(Stage::Push, &format!("{unknown}: {alone}"));
    Ok(commit.bump)
}
