//! Inputs of several messages: each has a byte that says how it is given to the machine, the
//! length in two bytes, and the message.

/// The messages of `data`; the last one may be cut short.
pub(crate) fn split(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [how, high, low, rest @ ..] = data else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (message, rest) = rest.split_at(length);
        data = rest;
        Some((*how, message))
    })
}

/// The opposite of [`split`]. Long messages become several.
pub(crate) fn append(data: &mut Vec<u8>, how: u8, message: &[u8]) {
    for piece in message.chunks(usize::from(u16::MAX)) {
        data.push(how);
        data.extend((piece.len() as u16).to_be_bytes());
        data.extend(piece);
    }
}
