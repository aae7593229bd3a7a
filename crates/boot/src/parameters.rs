//! Request parameters: `params` and `param` collect them, a URI that ends in `##params` sends them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use crate::failure::{Code, Failure};

/// The lists that scripts are putting together.
#[derive(Default)]
pub(crate) struct ParameterLists(Vec<List>);

struct List {
    /// Its name; one has none.
    name: Option<String>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    fields: Vec<(String, String)>,
}

/// An HTTP request as a list of parameters makes it.
pub(crate) struct Request {
    /// `GET`, `POST` or what the script said.
    pub(crate) method: String,
    /// Names and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The fields as `application/x-www-form-urlencoded`, where there are any.
    pub(crate) form: Option<Zeroizing<String>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and fields may be secrets.
        let form = if self.form.is_some() { "a" } else { "no" };
        let (method, headers) = (&self.method, self.headers.len());
        write!(f, "{method} with {headers} headers and {form} form")
    }
}

impl ParameterLists {
    /// Begins a list; an older one of the same name goes.
    pub(crate) fn begin(
        &mut self,
        name: Option<&str>,
        method: Option<&str>,
    ) -> Result<(), Failure> {
        self.remove(name);
        if self.0.len() >= LISTS_MAX {
            return Err(full("lists", LISTS_MAX));
        }
        self.0.push(List {
            name: name.map(String::from),
            method: method.map(String::from),
            headers: Vec::new(),
            fields: Vec::new(),
        });
        Ok(())
    }

    /// Adds a header or a field of the form.
    pub(crate) fn add(
        &mut self,
        name: Option<&str>,
        is_header: bool,
        key: &str,
        value: String,
    ) -> Result<(), Failure> {
        let found = self.0.iter_mut().find(|list| list.name.as_deref() == name);
        let list = found.ok_or_else(|| missing(name))?;
        let into = if is_header {
            &mut list.headers
        } else {
            &mut list.fields
        };
        if into.len() >= PARAMETERS_MAX {
            return Err(full("parameters", PARAMETERS_MAX));
        }
        into.push((key.into(), value));
        Ok(())
    }

    /// Takes a list as the request it stands for.
    pub(crate) fn take(&mut self, name: Option<&str>) -> Result<Request, Failure> {
        let found = self.0.iter().position(|list| list.name.as_deref() == name);
        let list = self.0.remove(found.ok_or_else(|| missing(name))?);
        let form = (!list.fields.is_empty()).then(|| encode(&list.fields));
        let implied = if form.is_some() { "POST" } else { "GET" };
        Ok(Request {
            method: list.method.unwrap_or_else(|| implied.into()),
            headers: list.headers,
            form,
        })
    }

    pub(crate) fn remove(&mut self, name: Option<&str>) {
        self.0.retain(|list| list.name.as_deref() != name);
    }
}

/// `application/x-www-form-urlencoded` (URL Standard section 5.2), spaces as `%20`, as iPXE has it.
fn encode(fields: &[(String, String)]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        encode_into(&mut text, key);
        text.push('=');
        encode_into(&mut text, value);
    }
    text
}

fn encode_into(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            byte => *text += &format!("%{byte:02X}"),
        }
    }
}

fn missing(name: Option<&str>) -> Failure {
    let message = match name {
        Some(name) => {
            format!("there is no list of parameters `{name}`; begin it with `params --name {name}`")
        }
        None => String::from("there is no list of parameters; begin one with `params`"),
    };
    Failure::new(Code::ParametersUnknown, message)
}

fn full(what: &str, limit: usize) -> Failure {
    let message = format!("there are {limit} {what} already");
    Failure::new(Code::ParametersUnknown, message)
}

/// Lists at one time.
const LISTS_MAX: usize = 64;

/// Headers of a list, and fields.
const PARAMETERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_request() {
        let mut lists = ParameterLists::default();
        lists.begin(None, None).unwrap();
        lists.add(None, false, "mac", "52:54:00 é".into()).unwrap();
        lists.add(None, false, "a&b", String::new()).unwrap();
        lists
            .add(None, true, "Accept", "text/plain".into())
            .unwrap();
        lists.begin(Some("named"), Some("PUT")).unwrap();
        let request = lists.take(None).unwrap();
        assert_eq!(request.method, "POST");
        let form = request.form.unwrap();
        assert_eq!(form.as_str(), "mac=52%3A54%3A00%20%C3%A9&a%26b=");
        assert_eq!(request.headers, [("Accept".into(), "text/plain".into())]);
        assert_eq!(
            lists.take(None).unwrap_err().code(),
            Code::ParametersUnknown
        );
        let named = lists.take(Some("named")).unwrap();
        assert_eq!((named.method.as_str(), named.form), ("PUT", None));
        lists.begin(None, None).unwrap();
        assert_eq!(lists.take(None).unwrap().method, "GET");
    }
}
