//! Asking every task to finish what it does and end.

use tokio::sync::watch;

/// Held by tasks that should end when asked to.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks all holders of the [`Shutdown`] to end. Dropping it asks, too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Shutdown {
    /// A request not made yet, and the means to make it.
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// Returns when the request has been made, at once if it was made before.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone, which asks, too.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

impl Trigger {
    /// Makes the request.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}
