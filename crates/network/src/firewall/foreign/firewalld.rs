//! firewalld: our bridges get a zone of their own, which accepts, and a policy that lets everything be
//! forwarded to it; our own table then decides. As dockerd does it with its zone and policy.
//! Calls: firewalld.dbus(5), firewalld 0.9.

use crate::Error;
use hull_linux::systemd::{self, Address, Bus, Method, Type, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// firewalld's table, in family inet.
pub(super) const TABLE: &str = "firewalld";
const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const CONFIG: &str = "/org/fedoraproject/FirewallD1/config";
/// firewalld takes 17 bytes for a zone's name.
const MAX_ZONE: usize = 17;

/// Where the system's bus is (D-Bus specification, "Well-known Message Bus Instances").
pub(super) fn system_bus() -> PathBuf {
    std::env::var("DBUS_SYSTEM_BUS_ADDRESS")
        .ok()
        .and_then(|list| Some(Address::bus_at(&list)?.path().clone()))
        .unwrap_or_else(|| PathBuf::from("/run/dbus/system_bus_socket"))
}

/// The zone of a daemon.
pub(super) fn zone_name(daemon: &str) -> String {
    daemon
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(MAX_ZONE)
        .collect()
}

/// Makes the zone hold `devices` and not those that are `gone`. Without a bus or without firewalld on it
/// nothing is done.
pub(super) fn apply(
    bus: &Path,
    daemon: &str,
    devices: &BTreeSet<String>,
    gone: &BTreeSet<String>,
) -> Result<(), Error> {
    if (devices.is_empty() && gone.is_empty()) || !bus.exists() {
        return Ok(());
    }
    let failed = |source| Error::Firewalld { source };
    let Some(mut firewalld) = Firewalld::connect(bus).map_err(failed)? else {
        return Ok(());
    };
    let zone = zone_name(daemon);
    firewalld.set_up(&zone).map_err(failed)?;
    for device in devices {
        firewalld.add(&zone, device).map_err(failed)?;
    }
    for device in gone {
        firewalld.remove(&zone, device).map_err(failed)?;
    }
    Ok(())
}

struct Firewalld {
    bus: Bus,
}

impl Firewalld {
    /// `None` when nobody has firewalld's name. It is asked first: a call would have the bus start it.
    fn connect(bus: &Path) -> Result<Option<Self>, systemd::Error> {
        let bus = Bus::connect(&Address::Bus(bus.to_owned()));
        let mut bus = match bus {
            // A socket that nobody listens at any more.
            Err(systemd::Error::Connect { .. }) => return Ok(None),
            other => other?,
        };
        let owned = bus.call(Method::of_bus("NameHasOwner"), vec![Value::text(NAME)])?;
        Ok((owned == [Value::Bool(true)]).then_some(Self { bus }))
    }

    fn call(
        &mut self,
        path: &str,
        part: &str,
        member: &str,
        body: Vec<Value>,
    ) -> Result<Vec<Value>, systemd::Error> {
        let interface = format!("{NAME}{part}");
        self.bus.call(
            Method {
                destination: NAME,
                path,
                interface: &interface,
                member,
            },
            body,
        )
    }

    fn zone(&mut self, member: &str, arguments: &[&str]) -> Result<Vec<Value>, systemd::Error> {
        let body = arguments.iter().map(|text| Value::text(text)).collect();
        self.call(PATH, ".zone", member, body)
    }

    /// Zone and policy are permanent: firewalld has none for the time being. They stay.
    fn set_up(&mut self, zone: &str) -> Result<(), systemd::Error> {
        let zones = self.zone("getZones", &[])?;
        if texts(&zones).any(|known| known == zone) {
            return Ok(());
        }
        let settings = [
            ("version", Value::text("1.0")),
            ("description", Value::text("bridges of containers")),
            ("target", Value::text("ACCEPT")),
        ];
        let added = self.call(
            CONFIG,
            ".config",
            "addZone2",
            vec![Value::text(zone), dictionary(&settings)],
        );
        unless_there(added)?;
        let list = |text| Value::Array(Type::Plain('s'), vec![Value::text(text)]);
        let settings = [
            ("version", Value::text("1.0")),
            (
                "description",
                Value::text("what containers' networks get is decided in their own table"),
            ),
            ("ingress_zones", list("ANY")),
            ("egress_zones", list(zone)),
            ("target", Value::text("ACCEPT")),
        ];
        let policy = Value::Text(format!("{zone}-forwarding"));
        let added = self.call(
            CONFIG,
            ".config",
            "addPolicy",
            vec![policy, dictionary(&settings)],
        );
        unless_there(added)?;
        self.call(PATH, "", "reload", Vec::new())?;
        Ok(())
    }

    fn add(&mut self, zone: &str, device: &str) -> Result<(), systemd::Error> {
        let present = self.zone("getZoneOfInterface", &[device])?;
        match present.first() {
            Some(Value::Text(present)) if present.is_empty() => {
                unless_there(self.zone("addInterface", &[zone, device]))
            }
            Some(Value::Text(present)) if present != zone => {
                // Somebody wanted it there.
                tracing::warn!(
                    device,
                    zone = present,
                    "the bridge is in another zone of firewalld"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn remove(&mut self, zone: &str, device: &str) -> Result<(), systemd::Error> {
        let present = self.zone("getInterfaces", &[zone])?;
        if texts(&present).any(|known| known == device) {
            self.zone("removeInterface", &[zone, device])?;
        }
        Ok(())
    }
}

/// The texts of an answer that is a list of them.
fn texts(body: &[Value]) -> impl Iterator<Item = &str> {
    let members = match body.first() {
        Some(Value::Array(_, members)) => members.as_slice(),
        _ => &[],
    };
    members.iter().filter_map(|member| match member {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn dictionary(entries: &[(&str, Value)]) -> Value {
    let kind = Type::Entry(Box::new((Type::Plain('s'), Type::Plain('v'))));
    let entry = |(key, value): &(&str, Value)| {
        let value = Value::Variant(Box::new(value.clone()));
        Value::Entry(Box::new((Value::text(key), value)))
    };
    Value::Array(kind, entries.iter().map(entry).collect())
}

/// Others may have made it meanwhile, or an earlier attempt that did not come further.
fn unless_there(answer: Result<Vec<Value>, systemd::Error>) -> Result<(), systemd::Error> {
    match answer {
        Err(systemd::Error::Refused { text, .. })
            if ["NAME_CONFLICT", "ALREADY_ENABLED"]
                .iter()
                .any(|code| text.starts_with(code)) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
