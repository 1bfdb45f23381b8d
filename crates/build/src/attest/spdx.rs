//! What is in an image: an SPDX 2.3 document of the packages that its package databases name.

use super::{Attestation, escaped};
use crate::world::{Tree, World, WorldResult};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PREDICATE: &str = "https://spdx.dev/Document";
/// What is read of a database: those of whole distributions have a few MiB.
const MAX_DATABASE: u64 = 64 << 20;
/// No more packages are listed: a document has its limit.
const MAX_PACKAGES: usize = 5_000;
/// Where apk's database is, and was.
const APK: [&str; 2] = ["usr/lib/apk/db/installed", "lib/apk/db/installed"];
const DPKG: &str = "var/lib/dpkg/status";
const RELEASES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// What is known of the files of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// `ID` and `VERSION_ID` of `os-release`.
    release: (String, String),
    packages: Vec<Package>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Package {
    /// The kind of package, in words of package URLs.
    kind: &'static str,
    name: String,
    version: String,
    architecture: String,
    license: String,
    supplier: String,
}

/// Reads the databases of dpkg and apk in a tree. rpm's are not read.
///
/// # Errors
/// What could not be read.
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
        found.packages.extend(of_dpkg(&text));
    }
    for path in APK {
        if let Some(text) = read(path)? {
            found.packages.extend(of_apk(&text));
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

/// The paragraphs of `status` whose package is installed (deb822(5)).
fn of_dpkg(text: &str) -> impl Iterator<Item = Package> + '_ {
    text.split("\n\n").filter_map(|paragraph| {
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
        let installed = field("Status").ends_with(" installed");
        (installed && !field("Package").is_empty()).then(|| Package {
            kind: "deb",
            name: field("Package"),
            version: field("Version"),
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
        json!({
            "name": package.name,
            "SPDXID": id(number),
            "versionInfo": package.version,
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
        let found: Vec<Package> = of_dpkg(dpkg).collect();
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
