//! Is this image due? Is this commit due? Each answer is a closed enum that carries its reason as a sentence
//! for the first line of the run's log.
//!
//! Takes what was listed or fetched and what is remembered; gives a decision. Must not act, wait or remember.

mod listing;
mod newest_tag;
mod hold;
mod spec;
mod skip;
mod image;
mod commit;

pub use commit::CommitDecision;
pub use commit::CommitMemory;
pub use commit::Judgement;
pub use commit::commit_due;
pub use hold::hold_for;
pub use image::image_due;
pub use listing::ImageDecision;
pub use listing::ImageQuestion;
pub use listing::Serving;
pub use listing::nothing_newer_can_follow;
pub use newest_tag::newest_tag;
pub use spec::SpecQuestion;
pub use spec::with_changed_spec;
