//! What keys do to objects.

use crate::message::{Action, Message, Tab, Verb};
use hull_api::client::{Client, Error, Target};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Does it, and tells how that went.
pub(super) async fn perform(client: Arc<Client>, sender: Sender<Message>, action: Action) {
    let message = match request(&client, &action).await {
        Ok(()) => Message::Done {
            text: format!("{} {}: done", action.verb.word(), action.name),
            failed: false,
        },
        Err(error) => Message::Done {
            text: format!("{} {}: {error}", action.verb.word(), action.name),
            failed: true,
        },
    };
    let _ = sender.send(message).await;
}

async fn request(client: &Client, action: &Action) -> Result<(), Error> {
    let id = &action.id;
    match (action.tab, action.verb) {
        (Tab::Containers, Verb::Start) => client.start(id).await,
        (Tab::Containers, Verb::Stop) => client.stop(id, "stop", "", None).await,
        (Tab::Containers, Verb::Restart) => client.stop(id, "restart", "", None).await,
        (Tab::Containers, Verb::Kill) => client.kill(id, "").await,
        (Tab::Containers, Verb::Remove) => client.remove(id, true, false, false).await,
        (Tab::Containers, verb @ (Verb::Pause | Verb::Unpause)) => {
            client
                .act(Target::segments(&["containers", id, verb.word()]))
                .await
        }
        (Tab::Images, Verb::Remove) => client.remove_image(id, false, false, &[]).await.map(drop),
        (Tab::Volumes, Verb::Remove) => client.remove_volume(id, false).await,
        (Tab::Networks, Verb::Remove) => client.remove_network(id).await,
        // There is no key for it.
        _ => Ok(()),
    }
}
