//! The manager of units: the system's, or a user's.

use super::Error;
use super::bus::{Address, Bus, Method};
use super::value::{Type, Value};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

/// How long a job may take: as long as runc waits.
const JOB_TIME: Duration = Duration::from_secs(30);

/// A property of a unit, by its name on the bus (org.freedesktop.systemd1(5)).
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Such as `MemoryMax`.
    pub name: String,
    /// Of the property's own type.
    pub value: Value,
}

impl Property {
    /// A property.
    #[must_use]
    pub fn new(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            value,
        }
    }
}

/// A connection to a manager.
#[derive(Debug)]
pub struct Manager {
    bus: Bus,
}

impl Manager {
    /// Connects to the system's manager: over its private socket, which is root's alone, else over the
    /// system bus.
    ///
    /// # Errors
    /// [`Error::Connect`] of the last attempt.
    pub fn system() -> Result<Self, Error> {
        let mut addresses = Vec::new();
        let named = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
        let named = named.as_deref().and_then(Address::bus_at);
        if named.is_none() {
            addresses.push(Address::Private("/run/systemd/private".into()));
        }
        addresses.push(named.unwrap_or_else(|| Address::Bus("/run/dbus/system_bus_socket".into())));
        Self::first_of(&addresses)
    }

    /// Connects to the manager of the user whose environment this is.
    ///
    /// # Errors
    /// [`Error::NoBus`] when the environment names none, [`Error::Connect`] of the last attempt.
    pub fn user() -> Result<Self, Error> {
        let mut addresses = Vec::new();
        let directory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let directory = directory.filter(|directory| directory.is_absolute());
        if let Some(directory) = &directory {
            addresses.push(Address::Private(directory.join("systemd/private")));
        }
        let named = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
        addresses.extend(named.as_deref().and_then(Address::bus_at));
        addresses.extend(directory.map(|directory| Address::Bus(directory.join("bus"))));
        Self::first_of(&addresses)
    }

    fn first_of(addresses: &[Address]) -> Result<Self, Error> {
        let mut last = Error::NoBus;
        for address in addresses {
            match Self::connect(address) {
                Ok(manager) => return Ok(manager),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to the manager at an address.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn connect(address: &Address) -> Result<Self, Error> {
        let mut bus = Bus::connect(address)?;
        if bus.is_shared() {
            // Over the private socket, news come unasked.
            let rule = "type='signal',sender='org.freedesktop.systemd1',\
                        interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
            bus.call(Method::of_bus("AddMatch"), vec![Value::text(rule)])?;
            bus.call(method(MANAGER, "Subscribe"), Vec::new())?;
        }
        Ok(Self { bus })
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> Result<Vec<Value>, Error> {
        self.bus.call(method(MANAGER, member), body)
    }

    /// Makes a unit that is gone when it ends, and waits until it is there.
    ///
    /// What a former unit of that name has left behind by failing is cleared away.
    ///
    /// # Errors
    /// [`Error::Refused`] names what systemd did not like, [`Error::Job`] how it failed.
    pub fn start_transient(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let others = Type::Struct(vec![Type::Plain('s'), array_of_properties()]);
        let body = vec![
            Value::text(unit),
            Value::text("replace"),
            list(properties),
            Value::Array(others, Vec::new()),
        ];
        let exists = |error: &Error| matches!(error, Error::Refused { name, .. } if name.ends_with(".UnitExists"));
        let job = match self.call("StartTransientUnit", body.clone()) {
            Err(error) if exists(&error) => {
                self.reset_failed(unit)?;
                self.call("StartTransientUnit", body)?
            }
            other => other?,
        };
        let result = self.wait(job, unit)?;
        if result == "done" {
            return Ok(());
        }
        // Whatever is left of it must not stand in the way of the next attempt.
        let _ = self.reset_failed(unit);
        Err(Error::Job {
            what: "creating",
            unit: unit.to_owned(),
            result,
        })
    }

    /// Changes properties until the unit's end.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn set_properties(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let body = vec![Value::text(unit), Value::Bool(true), list(properties)];
        self.call("SetUnitProperties", body).map(drop)
    }

    /// Ends a unit and waits until it is gone. That it is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Job`].
    pub fn stop(&mut self, unit: &str) -> Result<(), Error> {
        let body = vec![Value::text(unit), Value::text("replace")];
        let stopped = match self.call("StopUnit", body) {
            Err(Error::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => return Ok(()),
            other => self.wait(other?, unit),
        };
        // A unit that has failed stays until this is said.
        let _ = self.reset_failed(unit);
        match stopped?.as_str() {
            "done" => Ok(()),
            result => Err(Error::Job {
                what: "removing",
                unit: unit.to_owned(),
                result: result.to_owned(),
            }),
        }
    }

    fn reset_failed(&mut self, unit: &str) -> Result<(), Error> {
        match self.call("ResetFailedUnit", vec![Value::text(unit)]) {
            Err(Error::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits for the end of a job, by `JobRemoved(number, job, unit, result)`.
    fn wait(&mut self, job: Vec<Value>, unit: &str) -> Result<String, Error> {
        let Some(Value::Path(job)) = job.into_iter().next() else {
            return Err(Error::Protocol("the answer is no job"));
        };
        let deadline = Instant::now() + JOB_TIME;
        loop {
            let signal = self.bus.signal(deadline, unit)?;
            if signal.member != "JobRemoved" {
                continue;
            }
            if let [_, Value::Path(path), _, Value::Text(result)] = signal.body.as_slice()
                && *path == job
            {
                return Ok(result.clone());
            }
        }
    }

    fn property(&mut self, name: &str) -> Result<String, Error> {
        let body = vec![Value::text(MANAGER), Value::text(name)];
        let get = method("org.freedesktop.DBus.Properties", "Get");
        let answer = self.bus.call(get, body)?;
        match answer.into_iter().next() {
            Some(Value::Variant(value)) => match *value {
                Value::Text(text) => Ok(text),
                _ => Err(Error::Protocol("a property is no text")),
            },
            _ => Err(Error::Protocol("the answer is no property")),
        }
    }

    /// systemd's version: `252` of `v252.4-1`, 0 where it is no number.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn version(&mut self) -> Result<u32, Error> {
        let text = self.property("Version")?;
        let digits = text.trim_start_matches(['"', 'v']);
        let end = digits.find(|c: char| !c.is_ascii_digit());
        Ok(digits[..end.unwrap_or(digits.len())].parse().unwrap_or(0))
    }

    /// The control group of the manager, in which its slices are: `/` of the system's.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn control_group(&mut self) -> Result<PathBuf, Error> {
        let path = self.property("ControlGroup")?;
        Ok(Path::new("/").join(path))
    }
}

fn method<'a>(interface: &'a str, member: &'a str) -> Method<'a> {
    Method {
        destination: SYSTEMD,
        path: OBJECT,
        interface,
        member,
    }
}

fn array_of_properties() -> Type {
    let property = vec![Type::Plain('s'), Type::Plain('v')];
    Type::Array(Box::new(Type::Struct(property)))
}

fn list(properties: &[Property]) -> Value {
    let property = |property: &Property| {
        let value = Value::Variant(Box::new(property.value.clone()));
        Value::Struct(vec![Value::text(&property.name), value])
    };
    let kind = Type::Struct(vec![Type::Plain('s'), Type::Plain('v')]);
    Value::Array(kind, properties.iter().map(property).collect())
}

#[cfg(test)]
mod tests {
    use super::super::message::{Kind, Message, START};
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread::JoinHandle;

    /// A systemd of which everything is made up. Gives what it was asked.
    fn systemd(listener: UnixListener, shared: bool) -> JoinHandle<Vec<Message>> {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            for (asked, answer) in [
                ("\0AUTH EXTERNAL\r\n", "DATA\r\n"),
                ("DATA\r\n", "OK 0123456789abcdef\r\n"),
                ("BEGIN\r\n", ""),
            ] {
                line.clear();
                reader.read_line(&mut line).unwrap();
                assert_eq!(line, asked);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            let mut calls: Vec<Message> = Vec::new();
            let mut start = [0; START];
            while reader.read_exact(&mut start).is_ok() {
                let mut bytes = start.to_vec();
                bytes.resize(Message::length(start).unwrap(), 0);
                reader.read_exact(&mut bytes[START..]).unwrap();
                let call = Message::decode(&bytes).unwrap();
                assert_eq!(call.destination.is_empty(), !shared);
                answer(&mut stream, &call, calls.len());
                calls.push(call);
            }
            calls
        })
    }

    fn answer(stream: &mut UnixStream, call: &Message, serial: usize) {
        let serial = u32::try_from(serial).unwrap() + 100;
        let mut reply = Message {
            reply_to: call.serial,
            ..Message::new(Kind::Return, serial)
        };
        let unit = match call.body.first() {
            Some(Value::Text(unit)) => unit.as_str(),
            _ => "",
        };
        let removed = |job: &str, result: &str| Message {
            path: OBJECT.to_owned(),
            interface: MANAGER.to_owned(),
            member: "JobRemoved".to_owned(),
            body: vec![
                Value::U32(7),
                Value::Path(job.to_owned()),
                Value::text("u"),
                Value::text(result),
            ],
            ..Message::new(Kind::Signal, 1)
        };
        let mut news = Vec::new();
        match (call.member.as_str(), unit) {
            ("StartTransientUnit" | "StopUnit", "none.scope") => {
                reply.kind = Kind::Error;
                reply.error = "org.freedesktop.systemd1.NoSuchUnit".to_owned();
            }
            // The first time only: it has failed, and is still there.
            ("StartTransientUnit", "again.scope") if serial == 100 => {
                reply.kind = Kind::Error;
                reply.error = "org.freedesktop.systemd1.UnitExists".to_owned();
                reply.body = vec![Value::text("Unit again.scope was already loaded.")];
            }
            ("StartTransientUnit" | "StopUnit", unit) => {
                reply.body = vec![Value::Path("/job/2".to_owned())];
                let result = if unit == "bad.scope" {
                    "failed"
                } else {
                    "done"
                };
                news = vec![removed("/job/1", "canceled"), removed("/job/2", result)];
            }
            ("Get", _) => {
                let text = match &call.body[1] {
                    Value::Text(name) if name == "Version" => "252.4-1~deb12",
                    _ => "/user.slice/user-7.slice/user@7.service",
                };
                reply.body = vec![Value::Variant(Box::new(Value::text(text)))];
            }
            _ => {}
        }
        // News of the job may come before the answer that names it.
        for message in news.iter().chain([&reply]) {
            stream.write_all(&message.encode()).unwrap();
        }
    }

    fn with(shared: bool, test: impl FnOnce(&mut Manager)) -> Vec<Message> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("private");
        let peer = systemd(UnixListener::bind(&path).unwrap(), shared);
        let address = if shared {
            let escaped = path.to_str().unwrap().replace('/', "%2f");
            Address::bus_at(&format!("tcp:host=x;unix:guid=1,path={escaped}")).unwrap()
        } else {
            Address::Private(path)
        };
        let mut manager = Manager::connect(&address).unwrap();
        test(&mut manager);
        drop(manager);
        peer.join().unwrap()
    }

    #[test]
    fn a_unit_is_made_changed_and_removed() {
        let property = Property::new("TasksMax", Value::U64(9));
        let calls = with(false, |manager| {
            manager
                .start_transient("again.scope", std::slice::from_ref(&property))
                .unwrap();
            manager.set_properties("again.scope", &[]).unwrap();
            manager.stop("again.scope").unwrap();
            manager.stop("none.scope").unwrap();
            let refused = manager.start_transient("none.scope", &[]).unwrap_err();
            assert!(matches!(refused, Error::Refused { .. }));
            let error = manager.start_transient("bad.scope", &[]).unwrap_err();
            let text = "error creating systemd unit `bad.scope`: got `failed`";
            assert_eq!(error.to_string(), text);
        });
        let members: Vec<&str> = calls.iter().map(|call| call.member.as_str()).collect();
        let expected = [
            "StartTransientUnit",
            "ResetFailedUnit",
            "StartTransientUnit",
            "SetUnitProperties",
            "StopUnit",
            "ResetFailedUnit",
            "StopUnit",
            "StartTransientUnit",
            "StartTransientUnit",
            "ResetFailedUnit",
        ];
        assert_eq!(members, expected);
        let signature = |call: &Message| {
            let kinds = call.body.iter().map(|value| value.kind().signature());
            kinds.collect::<String>()
        };
        assert_eq!(signature(&calls[0]), "ssa(sv)a(sa(sv))");
        assert_eq!(signature(&calls[3]), "sba(sv)");
        assert_eq!(calls[0].body[2], list(&[property]));
    }

    #[test]
    fn on_a_bus_we_say_hello_and_ask_for_news() {
        let calls = with(true, |manager| {
            assert_eq!(manager.version().unwrap(), 252);
            let group = manager.control_group().unwrap();
            assert_eq!(group, Path::new("/user.slice/user-7.slice/user@7.service"));
        });
        let members: Vec<&str> = calls.iter().map(|call| call.member.as_str()).collect();
        assert_eq!(members, ["Hello", "AddMatch", "Subscribe", "Get", "Get"]);
    }

    #[test]
    fn nobody_there_is_a_clear_error() {
        let error = Manager::connect(&Address::Private("/nosuch/socket".into())).unwrap_err();
        let text = "failed to connect to dbus at /nosuch/socket";
        assert_eq!(error.to_string(), text);
        assert_eq!(Address::bus_at("unix:abstract=x"), None);
    }

    #[test]
    fn a_peer_that_is_none_is_refused() {
        for greeting in [
            "REJECTED EXTERNAL\r\n",
            "OK\r\n",
            "\r\n",
            &"x".repeat(600),
            "",
        ] {
            let (directory, greeting) = (tempfile::tempdir().unwrap(), greeting.to_owned());
            let path = directory.path().join("private");
            let listener = UnixListener::bind(&path).unwrap();
            let peer = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(greeting.as_bytes()).unwrap();
            });
            let connected = Manager::connect(&Address::Private(path));
            assert!(matches!(connected, Err(Error::Connect { .. })));
            peer.join().unwrap();
        }
    }
}
