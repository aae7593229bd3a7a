//! What needs no network: `data` URIs (RFC 2397) and files beside the loader (RFC 8089).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_net::http::{Progress, Sink};
use bowline_script::Uri;

use super::Memory;
use crate::failure::{Code, Failure};
use crate::machine::Machine;

/// What the URI itself carries.
pub(super) fn data(uri: &Uri, memory: &mut Memory<'_>) -> Result<(), Failure> {
    let data = uri.data().ok_or_else(|| {
        let message = "it is not data:[<type>][;base64],<data>, or not base 64";
        Failure::new(Code::UriInvalid, message)
    })?;
    keep(data, memory)
}

/// A file of the volume that the loader was started from.
pub(super) fn file(machine: &Machine, uri: &Uri, memory: &mut Memory<'_>) -> Result<(), Failure> {
    if let Some(host) = uri.host().filter(|host| *host != "localhost") {
        let message = format!(
            "only the volume that the loader came from can be read, not {host}: write \
             file:/folder/name, or file:name for a file beside the loader"
        );
        return Err(Failure::new(Code::UriUnsupported, message));
    }
    let path = uri.decoded_path().replace('/', "\\");
    match machine.platform.read_file(&path) {
        Ok(Some(data)) => keep(data, memory),
        Ok(None) => Err(no_file(format!(
            "the volume that the loader came from has no {path}"
        ))),
        Err(error) => Err(no_file(format!("{path}: {error}"))),
    }
}

fn no_file(message: String) -> Failure {
    Failure::new(Code::FileMissing, message)
}

fn keep(data: Vec<u8>, memory: &mut Memory<'_>) -> Result<(), Failure> {
    let received = data.len() as u64;
    let progress = Progress {
        received,
        total: Some(received),
    };
    // What there is no room for, the memory itself tells.
    let _ = memory.write(&data, progress);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{TestPlatform, run_script, script};

    #[test]
    fn files_and_data_need_no_network() {
        let mut platform = TestPlatform::new();
        platform.files = alloc::vec![
            (
                "next.ipxe",
                b"#!ipxe\necho beside ${cwuri}\nchain more.ipxe\n"
            ),
            ("more.ipxe", b"#!ipxe\necho more\n"),
            ("\\a b\\c.ipxe", b"#!ipxe\necho from the root\n"),
        ];
        let lines = [
            "chain file:next.ipxe",
            "chain file:/a%20b/c.ipxe",
            "chain file:///a%20b/c.ipxe",
            "chain data:,#!ipxe%0Aecho%20written%20down%0A",
            "imgfetch --name x data:text/plain;base64,Zm9vYmFy && imgset y x && echo ${y}",
            "chain file:absent || echo ${errno}",
            "chain file://ESP/x ||",
            "chain data:x ||",
            "exit",
        ];
        let (output, _) = run_script(platform, &script(&lines));
        for line in [
            "file:next.ipxe... ok\nbeside file:next.ipxe\nfile:more.ipxe... ok\nmore\n",
            "file:/a%20b/c.ipxe... ok\nfrom the root\n",
            "written down\n",
            "foobar\n",
            "the volume that the loader came from has no absent [file-missing]\n\
             file-missing\n",
            "not ESP: write file:/folder/name",
            "it is not data:[<type>][;base64],<data>, or not base 64 [uri-invalid]",
        ] {
            assert!(output.contains(line), "no `{line}` in\n{output}");
        }
        assert_eq!(output.matches("from the root\n").count(), 2, "{output}");
    }

    #[test]
    fn a_script_beside_the_loader_names_others_beside_it() {
        let mut platform = TestPlatform::new();
        platform.files = alloc::vec![
            (
                "autoexec.ipxe",
                b"#!ipxe\necho ${cwuri}\nchain next.ipxe\nexit\n"
            ),
            ("next.ipxe", b"#!ipxe\necho next\n"),
        ];
        let (platform, _) = crate::testing::run_packed(platform, b"");
        let output = platform.output.borrow();
        assert!(
            output.starts_with("file:autoexec.ipxe\nfile:next.ipxe... ok\nnext\n"),
            "{output}"
        );
    }
}
