//! The example does what it says.
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

mod host;

#[allow(dead_code, unreachable_pub, reason = "its main function prints")]
#[path = "../examples/publish.rs"]
mod publish;

#[test]
fn two_namespaces_are_joined_and_a_port_is_published() {
    let Some(host) = host::Host::new() else {
        return;
    };
    let seen = match publish::publish(&host.namespaces()) {
        Ok(seen) => seen,
        Err(error) => {
            let mut causes = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                causes = format!("{causes}: {cause}");
                source = cause.source();
            }
            panic!("{causes}");
        }
    };
    assert_eq!(
        seen,
        [
            "client to the server's own address: seen as 10.88.0.3",
            // The answer must come back by the host, or the client would not know it.
            "client to the published port: seen as 10.88.0.1",
            "server to its own published port: seen as 10.88.0.1",
            "host by loopback: seen as 10.88.0.1",
        ]
    );
    host::gone("br-example");
}
