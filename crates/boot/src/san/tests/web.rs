//! Files of a web server as disks.

use super::*;

/// A file of 100 KiB whose bytes tell where they are, and one that begins as a CD does.
static IMAGE: [u8; 100 << 10] = {
    let mut image = [0; 100 << 10];
    let mut at = 0;
    while at < image.len() {
        image[at] = (at / 512 * 7 + at % 512) as u8;
        at += 1;
    }
    image
};
static CD: [u8; 100 << 10] = {
    let mut image = IMAGE;
    let (_, descriptor) = image.split_at_mut(16 * 2048);
    let (descriptor, _) = descriptor.split_at_mut(7);
    descriptor.copy_from_slice(b"\x01CD001\x01");
    image
};

fn web(program: fn(&TestPlatform, &dyn BlockDevice) -> Result<(), StartError>) -> TestPlatform {
    const PAGES: Pages = &[
        ("/disk.img", &IMAGE),
        ("/x.iso", &CD),
        ("/tiny", b"nothing"),
    ];
    let mut platform = TestPlatform::with_network(PAGES);
    platform.program = Rc::new(Box::new(
        move |machine: &TestPlatform, disk: Option<&Rc<dyn BlockDevice>>| {
            program(machine, &**disk.expect("a disk was started"))
        },
    ));
    platform
}

#[test]
fn a_file_on_a_web_server_is_a_disk() {
    let platform = web(|_, disk| {
        let mut all = vec![0; IMAGE.len()];
        disk.read(0, &mut all).unwrap();
        assert!(all == IMAGE);
        disk.read(100, &mut all[..512]).unwrap();
        assert_eq!(all[3], (100 * 7 + 3) as u8);
        assert_eq!(disk.read(200, &mut all[..512]), Err(BlockError::OutOfRange));
        assert_eq!(disk.write(0, &[0; 512]), Err(BlockError::ReadOnly));
        assert_eq!(disk.flush(), Ok(()));
        Ok(())
    });
    let platform = run_with(platform, &["sanboot http://192.168.1.1/disk.img", "exit"]);
    let output = shown(&platform);
    assert!(
        output.starts_with(
            "san 0x80: 0 MiB, 512 byte blocks, read-only (http://192.168.1.1/disk.img)\n\
             san 0x80: not described to the operating system, which cannot be told about a file \
             on a web server\n\
             Starting the removable media loader from san 0x80\n"
        ),
        "{output}"
    );
    assert_eq!(platform.started.borrow().len(), 1);
}

#[test]
fn an_image_of_a_cd_has_the_blocks_of_a_cd() {
    let platform = web(|machine, disk| {
        let mut block = [0; 2048];
        disk.read(16, &mut block).unwrap();
        assert_eq!(&block[1..6], b"CD001");
        let unit = machine.disks.borrow()[0].unit.clone();
        let uri = "http://192.168.1.1/x.iso".into();
        assert_eq!(unit, DiskUnit::File { uri });
        Ok(())
    });
    let lines = ["sanboot --no-describe http://192.168.1.1/x.iso", "exit"];
    let output = shown(&run_with(platform, &lines));
    assert!(
        output.contains("2048 byte blocks, read-only (http://"),
        "{output}"
    );
}

#[test]
fn what_is_no_disk_on_a_web_server_is_told() {
    let lines = [
        "sanhook http://192.168.1.1/tiny ||",
        "sanhook http://192.168.1.1/nothing ||",
        "sanhook ftp://192.168.1.1/x ||",
        "exit",
    ];
    let output = shown(&run_with(web(|_, _| Ok(())), &lines));
    assert!(
        output.contains("/tiny has 7 bytes: that is no disk [disk-unsupported]"),
        "{output}"
    );
    assert!(output.contains("404"), "{output}");
    assert!(output.contains("sanhook: ftp:"), "{output}");
}
