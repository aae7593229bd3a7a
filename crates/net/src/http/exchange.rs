//! One message and its answer, over a kept connection or a new one (RFC 9112 section 9).

use super::head::Head;
use super::request::Message;
use super::response::Reader;
use super::{Client, Connect, FetchError, Method, Transport, Url};

impl<C: Connect> Client<'_, C> {
    /// Sends a message and reads the head of the answer. A kept connection that turns out to be
    /// closed is replaced by a new one (RFC 9112 section 9.3.1), once.
    pub(super) async fn exchange<'m>(
        &'m self,
        message: &Message<'m>,
    ) -> Result<(Head, Reader<'m, C::Transport>), FetchError> {
        let stack = self.connector.stack();
        let url = message.url;
        let reader = |transport| Reader::new(transport, url, self.options, stack);
        if message.method.is_idempotent()
            && let Some(transport) = self.pool.take(url, stack.now())
        {
            let mut reader = reader(transport);
            match self.ask(&mut reader, message).await {
                // RFC 9110 section 15.5.9: it was about to close the idle connection.
                Ok(head) if head.status == 408 => {}
                Ok(head) => return Ok((head, reader)),
                Err(error) if reader.has_begun() => return Err(error),
                Err(_) => {}
            }
        }
        let timeout = self.options.connect_timeout;
        let mut reader = reader(self.connector.connect(url, timeout).await?);
        let head = self.ask(&mut reader, message).await?;
        Ok((head, reader))
    }

    async fn ask<T: Transport>(
        &self,
        reader: &mut Reader<'_, T>,
        message: &Message<'_>,
    ) -> Result<Head, FetchError> {
        reader
            .send(&message.head(self.options), message.body)
            .await?;
        reader.head(message.method == Method::Head).await
    }

    /// Keeps the connection of an answer that is read to its end.
    pub(super) fn keep(&self, url: &Url, head: &Head, reader: Reader<'_, C::Transport>) {
        if !head.persists || self.options.keep_alive.is_zero() {
            return;
        }
        if let Some(transport) = reader.into_transport() {
            let now = self.connector.stack().now();
            self.pool
                .put(url, transport, now.saturating_add(self.options.keep_alive));
        }
    }

    /// Passes over an answer's body where that is cheaper than a new connection.
    pub(super) async fn discard(
        &self,
        url: &Url,
        head: &Head,
        mut reader: Reader<'_, C::Transport>,
    ) {
        if head.persists && !self.options.keep_alive.is_zero() && reader.drain(head.framing).await {
            self.keep(url, head, reader);
        }
    }
}
