//! What is in an image: an SPDX 2.3 document of the packages that its package databases name.

use super::{Attestation, escaped, rpm};
use crate::world::{Tree, World, WorldError, WorldResult};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const PREDICATE: &str = "https://spdx.dev/Document";
/// What is read of a database: those of whole distributions have a few MiB.
const MAX_DATABASE: u64 = 64 << 20;
/// No more packages are listed: a document has its limit.
const MAX_PACKAGES: usize = 5_000;
/// Where apk's database is, and was.
const APK: [&str; 2] = ["usr/lib/apk/db/installed", "lib/apk/db/installed"];
const DPKG: &str = "var/lib/dpkg/status";
/// Where images without dpkg have a file per package, as those of the project "distroless".
const DPKG_PARTS: &str = "var/lib/dpkg/status.d";
/// What is read of rpm's: it has the names of all files.
const MAX_RPM: u64 = 256 << 20;
const RELEASES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// What is known of the files of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// `ID` and `VERSION_ID` of `os-release`.
    release: (String, String),
    packages: Vec<Package>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    /// The kind of package, in words of package URLs.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) version: String,
    /// rpm's part of a version that counts before all others; the other kinds have it in the version.
    pub(super) epoch: String,
    pub(super) architecture: String,
    pub(super) license: String,
    pub(super) supplier: String,
}

/// Reads the databases of dpkg, apk and rpm in a tree.
///
/// # Errors
/// What could not be read, and for a database of rpm's that is damaged.
pub fn inventory(world: &dyn World, tree: &Tree) -> WorldResult<Inventory> {
    let read = |path: &str| -> WorldResult<Option<String>> {
        let bytes = world.read_file(tree, path, MAX_DATABASE)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let mut found = Inventory::default();
    for path in RELEASES {
        if let Some(text) = read(path)? {
            found.release = (value(&text, "ID"), value(&text, "VERSION_ID"));
            break;
        }
    }
    if let Some(text) = read(DPKG)? {
        found.packages.extend(of_dpkg(&text, true));
    }
    for name in world.names(tree, DPKG_PARTS)? {
        // Beside each are the digests of its package's files.
        if !name.ends_with(".md5sums")
            && let Some(text) = read(&format!("{DPKG_PARTS}/{name}"))?
        {
            found.packages.extend(of_dpkg(&text, false));
        }
    }
    for path in APK {
        if let Some(text) = read(path)? {
            found.packages.extend(of_apk(&text));
            break;
        }
    }
    for (path, store) in rpm::PLACES {
        if let Some(bytes) = world.read_file(tree, path, MAX_RPM)? {
            let packages = rpm::packages(store, &bytes);
            let damaged = |why| WorldError::caused(format!("read rpm's database /{path}"), why);
            found.packages.extend(packages.map_err(damaged)?);
            break;
        }
    }
    found
        .packages
        .sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    found.packages.dedup();
    found.packages.truncate(MAX_PACKAGES);
    Ok(found)
}

/// A line `NAME="value"`.
fn value(text: &str, name: &str) -> String {
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_default();
    value.trim().trim_matches(['"', '\'']).to_owned()
}

/// The paragraphs of `status` whose package is installed (deb822(5)); in other files none says whether it is.
fn of_dpkg(text: &str, told: bool) -> impl Iterator<Item = Package> + '_ {
    text.split("\n\n").filter_map(move |paragraph| {
        let fields: BTreeMap<&str, &str> = paragraph
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key, value.trim()))
            .collect();
        let field = |name: &str| {
            fields
                .get(name)
                .map_or_else(String::new, |v| (*v).to_owned())
        };
        let installed = !told || field("Status").ends_with(" installed");
        (installed && !field("Package").is_empty()).then(|| Package {
            kind: "deb",
            name: field("Package"),
            version: field("Version"),
            epoch: String::new(),
            architecture: field("Architecture"),
            license: String::new(),
            supplier: field("Maintainer"),
        })
    })
}

/// The paragraphs of apk's database: `P:name`, `V:version`, `A:architecture`, `L:license`, `m:maintainer`.
fn of_apk(text: &str) -> impl Iterator<Item = Package> + '_ {
    text.split("\n\n").filter_map(|paragraph| {
        let field = |name: char| {
            let mut lines = paragraph.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().to_owned()
        };
        (!field('P').is_empty()).then(|| Package {
            kind: "apk",
            name: field('P'),
            version: field('V'),
            epoch: String::new(),
            architecture: field('A'),
            license: field('L'),
            supplier: field('m'),
        })
    })
}

impl Inventory {
    /// The document, of a time.
    #[must_use]
    pub fn attestation(&self, name: &str, created: Timestamp) -> Attestation {
        let packages: Vec<Value> = self
            .packages
            .iter()
            .enumerate()
            .map(|(n, p)| self.package(n, p))
            .collect();
        let described = (0..self.packages.len()).map(|number| {
            json!({
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": id(number),
            })
        });
        let namespace = crate::graph::digest_of(&(
            name,
            packages.iter().map(Value::to_string).collect::<Vec<_>>(),
        ));
        let predicate = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": name,
            "documentNamespace": format!("urn:hull:sbom:{namespace}"),
            "creationInfo": {
                "creators": [concat!("Tool: hull-", env!("CARGO_PKG_VERSION"))],
                // Without parts of a second, as the specification has it (clause 6.9).
                "created": created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
            "packages": packages,
            "relationships": described.collect::<Vec<_>>(),
        });
        Attestation {
            predicate_type: PREDICATE.to_owned(),
            predicate,
        }
    }

    fn package(&self, number: usize, package: &Package) -> Value {
        let or_none = |text: &str| match text {
            "" => "NOASSERTION".to_owned(),
            text => text.to_owned(),
        };
        let supplier = match package.supplier.as_str() {
            "" => "NOASSERTION".to_owned(),
            who => format!("Organization: {who}"),
        };
        let version = match package.epoch.as_str() {
            "" => package.version.clone(),
            epoch => format!("{epoch}:{}", package.version),
        };
        json!({
            "name": package.name,
            "SPDXID": id(number),
            "versionInfo": version,
            "supplier": supplier,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            // Words of a distribution, which need be no expression of SPDX's.
            "licenseComments": or_none(&package.license),
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": self.url(package),
            }],
        })
    }

    /// `pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12`
    fn url(&self, package: &Package) -> String {
        let (system, version) = (&self.release.0, &self.release.1);
        let system = if system.is_empty() { "unknown" } else { system };
        let name = format!(
            "pkg:{}/{}/{}",
            package.kind,
            escaped(system),
            escaped(&package.name)
        );
        let mut url = format!("{name}@{}", escaped(&package.version));
        if !package.architecture.is_empty() {
            url.push_str(&format!("?arch={}", escaped(&package.architecture)));
            if !version.is_empty() {
                url.push_str(&format!("&distro={}-{}", escaped(system), escaped(version)));
            }
            if !package.epoch.is_empty() {
                url.push_str(&format!("&epoch={}", escaped(&package.epoch)));
            }
        }
        url
    }
}

fn id(number: usize) -> String {
    format!("SPDXRef-Package-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_name_packages() {
        let dpkg = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1+b1\nMaintainer: M <m@x>\nDescription: shell\n Package: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        let found: Vec<Package> = of_dpkg(dpkg, true).collect();
        assert_eq!(found.len(), 1);
        let inventory = Inventory {
            release: ("debian".to_owned(), "12".to_owned()),
            packages: found,
        };
        let said = inventory.attestation("x", Timestamp::UNIX_EPOCH);
        assert_eq!(
            said.predicate["creationInfo"]["created"],
            "1970-01-01T00:00:00Z"
        );
        let package = &said.predicate["packages"][0];
        assert_eq!(package["supplier"], "Organization: M <m@x>");
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/bash@5.2-1%2Bb1?arch=amd64&distro=debian-12"
        );
        let distroless = "Package: base-files\nVersion: 12\nArchitecture: amd64\n";
        let found: Vec<Package> = of_dpkg(distroless, false).collect();
        assert_eq!(found[0].name, "base-files");
        let rpm = Inventory {
            release: ("fedora".to_owned(), "40".to_owned()),
            packages: vec![Package {
                kind: "rpm",
                name: "curl".to_owned(),
                version: "8.6-1.fc40".to_owned(),
                epoch: "2".to_owned(),
                architecture: "x86_64".to_owned(),
                ..Package::default()
            }],
        };
        let said = rpm.attestation("x", Timestamp::UNIX_EPOCH).predicate;
        let package = &said["packages"][0];
        assert_eq!(package["versionInfo"], "2:8.6-1.fc40");
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:rpm/fedora/curl@8.6-1.fc40?arch=x86_64&distro=fedora-40&epoch=2"
        );
        let apk = "C:Q1\nP:musl\nV:1.2-r1\nA:x86_64\nL:MIT\n\nP:zlib\nV:1\n";
        let found: Vec<Package> = of_apk(apk).collect();
        assert_eq!(
            (found[0].license.as_str(), found[1].name.as_str()),
            ("MIT", "zlib")
        );
        assert_eq!(
            value("NAME=\"x\"\nVERSION_ID=\"3.18\"\nID=alpine\n", "VERSION_ID"),
            "3.18"
        );
    }
}
