//! GitHub's webhook deliveries to the agent, signed as GitHub signs them.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use serde_json::json;
use sha2::Sha256;

use crate::world::World;
use crate::world::port::ReservedPort;

/// The secret that the agent and GitHub share.
pub const HOOK_SECRET: &str = "webhook-s3cret-of-the-world";

/// The agent's webhook, as GitHub knows it.
pub struct Hook {
    port: ReservedPort,
    repository: String,
}

impl World {
    /// Turns the webhook on, from the agent's next start on.
    pub fn open_hook(&self) -> Hook {
        let port = ReservedPort::find();
        let secret = self.agent.write_secret("webhook-secret", HOOK_SECRET);
        let listen = format!("127.0.0.1:{}", port.number());
        self.agent.set("/webhook", json!({"listen": listen, "secret": secret}));
        Hook { port, repository: self.repo.name().to_owned() }
    }
}

impl Hook {
    /// Delivers a push to the watched branch; the status that was answered.
    pub async fn push(&self, delivery: &str) -> u16 {
        self.deliver(delivery, "refs/heads/main", HOOK_SECRET).await
    }

    /// Delivers a push of this ref, signed with this secret.
    pub async fn deliver(&self, delivery: &str, git_ref: &str, secret: &str) -> u16 {
        let body = json!({"ref": git_ref, "before": "0".repeat(40), "after": "1".repeat(40), "deleted": false,
                          "repository": {"full_name": self.repository}});
        let body = body.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
        mac.update(body.as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let client = reqwest::Client::builder().no_proxy().build().expect("make a client for the webhook");
        let answer = client
            .post(format!("http://127.0.0.1:{}/webhook", self.port.number()))
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("x-github-event", "push")
            .header("x-github-delivery", delivery)
            .header("x-hub-signature-256", format!("sha256={hex}"))
            .body(body)
            .send()
            .await;
        answer.expect("deliver to the webhook").status().as_u16()
    }
}
