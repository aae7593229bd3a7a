//! The table `iscsi`.

use super::*;

#[test]
fn a_target_needs_a_good_name_and_a_disk() {
    for name in [
        "foo",
        "iqn.2026-13.com.example:x",
        "iqn.26-01.com.example:x",
        "iqn.2026-01.",
        "iqn.2026-01.com..example",
        "iqn.2026-01.com.example:Disk",
        "iqn.2026-01.com.example:a b",
        "eui.0123",
        "naa.0123456789abcdex",
    ] {
        refused(
            &format!("{ISCSI}[[iscsi.target]]\nname = '{name}'\n{LUN}"),
            &[&format!(
                "bowline.toml:4: iscsi.target.name: \"{name}\" is not an iSCSI name; \
                 write it like iqn.2026-01.com.example:disk1"
            )],
        );
    }
    refused(
        &format!("{ISCSI}{TARGET}"),
        &["bowline.toml:3: iscsi.target: has no disk; \
           add a table [[iscsi.target.lun]] with `lun` and `file`"],
    );
    refused(
        ISCSI,
        &["bowline.toml:1: iscsi: offers no target; add a table [[iscsi.target]]"],
    );
    refused(
        &format!(
            "{ISCSI}{TARGET}{LUN}{TARGET}{}",
            LUN.replace("disk", "other")
        ),
        &[
            "bowline.toml:9: iscsi.target.name: \"iqn.2026-01.com.example:disk1\" is the name of \
           another target, on line 4",
        ],
    );
}

#[test]
fn names_of_every_kind_are_accepted() {
    let site = site();
    for name in [
        "iqn.2000-01.com.example:disk1",
        "iqn.1999-12.org.example",
        "eui.02004567a425678d",
        "naa.52004567ba64678d",
        "naa.62004567ba64678d0123456789abcdef",
    ] {
        let text = format!("{ISCSI}[[iscsi.target]]\nname = '{name}'\n{LUN}");
        assert_eq!(
            parse(&site, &text).unwrap().config.iscsi.unwrap().targets[0].name,
            name
        );
    }
}

#[test]
fn a_lun_needs_an_image_of_whole_blocks_for_itself() {
    let lun = |lines: &str| format!("{ISCSI}{TARGET}[[iscsi.target.lun]]\n{lines}");
    refused(
        &lun("lun = 256\nfile = 'gone.img'\nread-only = 'no'\n"),
        &[
            "bowline.toml:6: iscsi.target.lun.lun: 256 is not between 0 and 255",
            "bowline.toml:8: iscsi.target.lun.read-only: should be true or false, not a string",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'gone.img'\nreadonly = true"),
        &[
            "bowline.toml:7: iscsi.target.lun.file: cannot open gone.img: No such file or \
             directory (os error 2); make one with: truncate -s 8G gone.img",
            "bowline.toml:8: iscsi.target.lun.readonly: unknown key; did you mean `read-only`?",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'odd.img'\n"),
        &[
            "bowline.toml:7: iscsi.target.lun.file: odd.img is a disk of 700 bytes, 188 more than \
           a whole number of 512 byte blocks; grow it with: truncate -s %512 odd.img",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'empty.img'\n"),
        &[
            "bowline.toml:7: iscsi.target.lun.file: empty.img is empty: make it as large as the \
           disk should be (truncate -s 8G empty.img)",
        ],
    );
    refused(
        &lun("lun = 1\nfile = 'disk.img'\nblock-size = 1000\n"),
        &["bowline.toml:8: iscsi.target.lun.block-size: 1000 is not a block size; use 512 or 4096"],
    );
    refused(
        &lun(&format!(
            "lun = 1\nfile = 'disk.img'\n{}",
            LUN.replace("disk.img", "www/../disk.img")
        )),
        &[
            "bowline.toml:9: iscsi.target.lun.lun: this target has a LUN 1 already",
            "bowline.toml:10: iscsi.target.lun.file: this image is served already; \
             a writable image has one LUN, on line 7",
        ],
    );
    refused(
        &lun("file = 'disk.img'\n"),
        &["bowline.toml:5: iscsi.target.lun: `lun` is missing: give the number of the disk"],
    );
}

/// The name tells the format, and with it how to make such an image and how large its disk is.
#[test]
fn advice_about_an_image_is_for_its_format() {
    let lun =
        |file: &str| format!("{ISCSI}{TARGET}[[iscsi.target.lun]]\nlun = 1\nfile = '{file}'\n");
    for (file, expected) in [
        (
            "gone.qcow2",
            "cannot open gone.qcow2: No such file or directory (os error 2); \
             make one with: qemu-img create -f qcow2 gone.qcow2 8G",
        ),
        (
            "gone.overlay",
            "cannot open gone.overlay: No such file or directory (os error 2); \
             make one with: bowline image clone GOLDEN MACHINE",
        ),
        (
            "empty.qcow2",
            "empty.qcow2 is empty; make one with: qemu-img create -f qcow2 empty.qcow2 8G",
        ),
        (
            "empty.overlay",
            "empty.overlay is empty; make one with: bowline image clone GOLDEN MACHINE",
        ),
    ] {
        refused(
            &lun(file),
            &[&format!(
                "bowline.toml:7: iscsi.target.lun.file: {expected}"
            )],
        );
    }
    let site = site();
    for file in ["disk.overlay", "disk.qcow2"] {
        fs::rename(site.path().join("other.img"), site.path().join(file)).unwrap();
        let error = parse(&site, &lun(file)).unwrap_err().to_string();
        assert!(error.contains("cannot use the"), "{error}");
        fs::rename(site.path().join(file), site.path().join("other.img")).unwrap();
    }
}

/// An overlay and a qcow2 file are as long as their disks, not as their files.
#[test]
fn the_length_of_a_disk_is_not_that_of_its_file() {
    let site = site();
    let library = bowline_store::Library::open(site.path()).unwrap();
    let (golden, len) = (site.path().join("golden.img"), 4096 + 512);
    File::create(&golden).unwrap().set_len(len).unwrap();
    library
        .import("golden", &golden, None, &mut |_, _| {})
        .unwrap();
    library.create_overlay("node1", "golden", None).unwrap();
    let lun = "[[iscsi.target.lun]]\nlun = 1\nfile = 'overlays/node1.overlay'\n";
    parse(&site, &format!("{ISCSI}{TARGET}{lun}")).unwrap();
    let error = parse(&site, &format!("{ISCSI}{TARGET}{lun}block-size = 4096\n")).unwrap_err();
    let expected = "is a disk of 4608 bytes, 512 more than a whole number of 4096 byte blocks; \
         make it anew with: bowline image clone GOLDEN MACHINE --size";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn readers_share_an_image() {
    let site = site();
    let one = format!("{LUN}read-only = true\n");
    let two = one.replace("lun = 1", "lun = 2");
    parse(&site, &format!("{ISCSI}{TARGET}{one}{two}")).unwrap();
    refused(
        &format!("{ISCSI}{TARGET}{one}{}", two.replace("true", "false")),
        &[
            "bowline.toml:11: iscsi.target.lun.file: this image is served already; \
           a writable image has one LUN, on line 7",
        ],
    );
}

#[test]
fn chap_credentials_come_in_pairs() {
    let chap = |inside: &str| format!("{ISCSI}{TARGET}chap = {{ {inside} }}\n{LUN}");
    let key = "bowline.toml:5: iscsi.target.chap";
    let good = "username = 'user', password = 'long enough secret'";
    refused(
        &chap(""),
        &[
            &format!("{key}: `username` is missing: give the name that the initiator logs in with"),
            &format!("{key}: `password` is missing: give it, or a `password-file`"),
        ],
    );
    refused(
        &chap(&format!("{good}, mutual-username = 'target'")),
        &[&format!(
            "{key}: `mutual-username` is given but no `mutual-password`"
        )],
    );
    refused(
        &chap(&format!("{good}, mutual-password = 'other long secret'")),
        &[&format!(
            "{key}: `mutual-password` is given but no `mutual-username`"
        )],
    );
    refused(
        &chap(&format!(
            "{good}, mutual-username = 'x', mutual-password = 'long enough secret'"
        )),
        &[&format!(
            "{key}.mutual-password: is the same as `password`; \
             the two directions need two secrets"
        )],
    );
    refused(
        &chap(&format!("{good}, algorithms = ['sha256', 'crc32']")),
        &[&format!(
            "{key}.algorithms: \"crc32\" is not an algorithm of CHAP; use sha3-256, sha256, sha1 or md5"
        )],
    );
    refused(
        &chap(&format!("{good}, password-file = 'secret'")),
        &[&format!(
            "{key}.password-file: `password` is given too; keep one of them"
        )],
    );
    refused(
        &chap("username = '', password-file = 'gone'"),
        &[
            &format!("{key}.username: is empty"),
            &format!(
                "{key}.password-file: cannot read gone: No such file or directory (os error 2)"
            ),
        ],
    );
    refused(
        &chap("user = 'user', password = ''"),
        &[
            &format!("{key}: `username` is missing: give the name that the initiator logs in with"),
            &format!("{key}.password: is empty"),
            &format!("{key}.user: unknown key; did you mean `username`?"),
        ],
    );
}
