use super::*;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

/// So long waits who waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits {
    connections: 64,
    sessions: 64,
    connect: PATIENCE,
    idle: PATIENCE,
};

/// A bound socket, as the engine hands it over.
fn bound(transport: Transport) -> Option<(OwnedFd, SocketAddrV6)> {
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET6, kind, None).ok()?;
    let any = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    if rustix::net::bind(&socket, &any).is_err() {
        eprintln!("skipped: needs ::1");
        return None;
    }
    let at = rustix::net::getsockname(&socket).unwrap();
    Some((socket, at.try_into().unwrap()))
}

/// Serves one port until the test ends.
fn serve(transport: Transport, target: SocketAddr, limits: Limits) -> Option<(Relays, SocketAddr)> {
    let (socket, listen) = bound(transport)?;
    let relay = Relay {
        transport,
        listen,
        target,
    };
    let mut relays = Relays::new(vec![socket], &[relay]).unwrap();
    assert_eq!(relays.ports.len(), 1);
    relays.limits = limits;
    let reactor = Reactor::new().unwrap();
    relays.watch(&reactor, 7).unwrap();
    relays.begin(&reactor);
    Some((relays, listen.into()))
}

fn connected(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn asker(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

#[test]
fn tokens_survive_packing() {
    for token in [
        Token::Port(3),
        Token::Connection(5, 0),
        Token::Connection((1 << 60) - 1, 1),
        Token::Session(9),
    ] {
        assert_eq!(Token::unpack(token.pack()), token);
    }
}

#[test]
fn only_what_is_named_is_served() {
    let (Some((tcp, listen)), Some((udp, _))) = (bound(Transport::Tcp), bound(Transport::Udp))
    else {
        return;
    };
    let relay = Relay {
        transport: Transport::Udp,
        listen,
        target: "127.0.0.1:9".parse().unwrap(),
    };
    let relays = Relays::new(vec![tcp, udp], &[relay]).unwrap();
    assert!(relays.ports.is_empty());
    assert!(TcpStream::connect(SocketAddr::from(listen)).is_err());
}

/// Much more than sockets have room for goes both ways, and each half is closed by itself.
#[test]
fn all_bytes_and_ends_are_passed_on() {
    const MUCH: usize = 24 << 20;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some((_relays, at)) = serve(Transport::Tcp, server.local_addr().unwrap(), LIMITS) else {
        return;
    };
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut all = Vec::new();
        // The client's end comes while the way back is open.
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        all.len()
    });
    let mut client = connected(at);
    let sent: Vec<u8> = (0..MUCH).map(|n| (n * 7 % 251).to_le_bytes()[0]).collect();
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert_eq!(echo.join().unwrap(), MUCH);
    assert!(back == sent, "{} bytes came back", back.len());
}

/// Who does not read makes the other wait, and nobody else.
#[test]
fn a_slow_client_stops_nobody_else() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some((_relays, at)) = serve(Transport::Tcp, server.local_addr().unwrap(), LIMITS) else {
        return;
    };
    let slow = connected(at);
    let (mut flooding, _) = server.accept().unwrap();
    flooding.set_nonblocking(true).unwrap();
    let mut quick = connected(at);
    let (mut other, _) = server.accept().unwrap();
    let mut flooded = 0;
    while let Ok(length) = flooding.write(&[7; 1 << 16]) {
        flooded += length;
    }
    quick.write_all(b"quick").unwrap();
    let mut text = [0; 5];
    other.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"quick");
    flooding.set_nonblocking(false).unwrap();
    drop(flooding);
    let mut all = Vec::new();
    (&slow).read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), flooded);
}

#[test]
fn a_target_that_refuses_resets_the_client() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = closed.local_addr().unwrap();
    drop(closed);
    let Some((relays, at)) = serve(Transport::Tcp, target, LIMITS) else {
        return;
    };
    let refused = |at| connected(at).read(&mut [0]).unwrap_err().kind();
    assert_eq!(refused(at), io::ErrorKind::ConnectionReset);
    relays.retarget(&[]);
    assert_eq!(refused(at), io::ErrorKind::ConnectionReset);
    let server = TcpListener::bind("[::1]:0").unwrap();
    let SocketAddr::V6(listen) = at else {
        return;
    };
    relays.retarget(&[Relay {
        transport: Transport::Tcp,
        listen,
        target: server.local_addr().unwrap(),
    }]);
    let mut client = connected(at);
    server.accept().unwrap().0.write_all(b"new").unwrap();
    let mut text = Vec::new();
    client.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"new");
}

/// A connection that is broken off at one end is at the other.
#[test]
fn a_reset_is_passed_on() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some((_relays, at)) = serve(Transport::Tcp, server.local_addr().unwrap(), LIMITS) else {
        return;
    };
    let mut client = connected(at);
    let (served, _) = server.accept().unwrap();
    sockopt::set_socket_linger(served.as_fd(), Some(Duration::ZERO)).unwrap();
    drop(served);
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
}

/// Clients above the limit wait, and have their turn when another has ended.
#[test]
fn connections_are_bounded() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        connections: 2,
        ..LIMITS
    };
    let Some((_relays, at)) = serve(Transport::Tcp, server.local_addr().unwrap(), limits) else {
        return;
    };
    let first = [connected(at), connected(at)];
    let served = [server.accept().unwrap().0, server.accept().unwrap().0];
    let mut third = connected(at);
    third.write_all(b"third").unwrap();
    server.set_nonblocking(true).unwrap();
    assert_eq!(
        server.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    server.set_nonblocking(false).unwrap();
    drop((first, served));
    let (mut late, _) = server.accept().unwrap();
    let mut text = [0; 5];
    late.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"third");
}

#[test]
fn answers_go_to_the_client_that_asked() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let Some((_relays, at)) = serve(Transport::Udp, server.local_addr().unwrap(), LIMITS) else {
        return;
    };
    let clients = [asker(at), asker(at)];
    clients[0].send(b"first").unwrap();
    clients[1].send(b"second").unwrap();
    let mut bytes = [0; 16];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (length, from) = server.recv_from(&mut bytes).unwrap();
        seen.push((bytes[..length].to_vec(), from));
    }
    assert_ne!(seen[0].1, seen[1].1);
    for (text, from) in seen.iter().rev() {
        server.send_to(text, from).unwrap();
    }
    for (client, text) in clients.iter().zip([&b"first"[..], b"second"]) {
        let length = client.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], text);
    }
    // The same client keeps its socket.
    clients[0].send(b"first").unwrap();
    let (_, again) = server.recv_from(&mut bytes).unwrap();
    assert!(seen.contains(&(b"first".to_vec(), again)));
}

#[test]
fn sessions_are_bounded_and_end() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let target = server.local_addr().unwrap();
    let reactor = Reactor::new().unwrap();
    let Some((socket, listen)) = bound(Transport::Udp) else {
        return;
    };
    let relay = Relay {
        transport: Transport::Udp,
        listen,
        target,
    };
    let relays = Relays::new(vec![socket], &[relay]).unwrap();
    let limits = Limits {
        sessions: 2,
        ..LIMITS
    };
    let mut sessions = udp::Sessions::new(limits);
    let mut buffer = vec![0; CHUNK];
    let clients = [(); 3].map(|()| asker(listen.into()));
    let mut from = Vec::new();
    for client in clients.iter().chain(&clients[1..2]) {
        client.send(b"x").unwrap();
        sessions.on_question(&reactor, &relays.ports, 0, &mut buffer);
        from.push(server.recv_from(&mut [0]).unwrap().1);
    }
    assert_eq!(from[1], from[3], "the one that was silent longest has gone");
    assert!(sessions.deadline().is_some());
    sessions.expire(Instant::now() + PATIENCE * 2);
    assert_eq!(sessions.deadline(), None);
}
