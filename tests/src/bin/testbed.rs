//! Makes images from Debian's packages and puts them into a registry on loopback:
//!
//! ```text
//! hull-testbed registry DIRECTORY HOST:PORT     serves until its standard input ends
//! hull-testbed push-busybox HOST:PORT           busybox:latest, from busybox-static
//! hull-testbed push-tree HOST:PORT NAME:TAG DIR the tree below DIR, in two layers
//! ```
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use hull_tests::image::{Family, Image, Layer, Packing, busybox};
use hull_tests::registry::{Registry, push};
use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["registry", directory, address] => serve(directory, address),
        ["push-busybox", address] => put(
            address,
            "busybox",
            "latest",
            &busybox(Packing::Gzip, Family::Docker),
        ),
        ["push-tree", address, name, directory] => {
            let (name, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
            put(address, name, tag, &tree(Path::new(directory)));
        }
        _ => {
            eprintln!(
                "usage: hull-testbed registry DIR ADDR | push-busybox ADDR | push-tree ADDR NAME:TAG DIR"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn serve(directory: &str, address: &str) {
    let registry = Registry::start_in(
        Path::new(directory),
        address.parse().expect("an address such as 127.0.0.1:5000"),
    );
    println!("{}", registry.host());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn put(address: &str, repository: &str, tag: &str, image: &Image) {
    let address = address.parse().expect("an address such as 127.0.0.1:5000");
    let (reference, digest) = push(address, repository, tag, image);
    println!("{reference} {digest}");
}

fn tree(directory: &Path) -> Image {
    let base = Layer::new().tree(directory).finish();
    let upper = Layer::new()
        .directory("etc", 0o755)
        .file(
            "etc/motd",
            0o644,
            b"A Debian system, pulled and run by Hull.\n",
        )
        .finish();
    let config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["bash"],
    });
    Image::new(&[base, upper], &config, Packing::Gzip, Family::Oci)
}
