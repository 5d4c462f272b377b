//! A service after its watch: each poll of Docker Hub looks at its container anyway, and what falls ill there is told
//! once and left as it is. A look that shows nothing new writes nothing.

use crate::agent::Agent;
use crate::cd::release_of;
use crate::event::Event;
use crate::health::illness::Change;
use crate::model::Container;
use crate::model::ProjectName;
use crate::queue::Lane;

impl Agent {
    /// Takes in what stands in a service's place.
    pub(super) fn service_seen(&mut self, name: &ProjectName, shown: Option<&Container>) {
        let is_changing = self.queue.running(Lane::Cd) == Some(name)
            || self.queue.waiting(Lane::Cd).any(|(project, _)| project == name);
        let now = self.now();
        let Some(project) = self.projects.get_mut(name) else { return };
        // A run changes it, or its watch goes on: they have their own answer.
        if is_changing || project.watch.as_ref().is_some_and(|watch| !watch.is_finished()) {
            return;
        }
        let release = shown.and_then(release_of);
        // It failed in its watch, and nothing could take its place: that was told.
        if release.as_ref().is_some_and(|release| project.quarantined.contains_key(&release.digest)) {
            return;
        }
        let change = project.wellbeing.look(shown, now);
        let release = release.or_else(|| project.current.as_ref().map(|current| current.release.clone()));
        if change == Change::None {
            return;
        }
        let Some(release) = release else { return };
        let (notifier, events, name) = (self.shared_notifier(), self.events.clone(), name.clone());
        let redactor = self.shared.redactor.clone();
        self.put_off += 1;
        tokio::spawn(async move {
            notifier.service_changed(&name, &release, change, &redactor).await;
            // Fails only when the agent is gone.
            events.send(Event::ServiceTold).ok();
        });
    }

    /// It is recorded, and the mail about it may be sent.
    pub(super) fn service_told(&mut self) {
        self.put_off = self.put_off.saturating_sub(1);
        self.mail_soon();
    }
}
