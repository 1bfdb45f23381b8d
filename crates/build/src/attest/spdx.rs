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

/// Where the files of an image are read.
trait Files {
    /// As [`World::read_file`].
    fn read(&self, path: &str, limit: u64) -> WorldResult<Option<Vec<u8>>>;

    /// As [`World::names`].
    fn names(&self, path: &str) -> WorldResult<Vec<String>>;
}

struct OfTree<'a>(&'a dyn World, &'a Tree);

impl Files for OfTree<'_> {
    fn read(&self, path: &str, limit: u64) -> WorldResult<Option<Vec<u8>>> {
        self.0.read_file(self.1, path, limit)
    }

    fn names(&self, path: &str) -> WorldResult<Vec<String>> {
        self.0.names(self.1, path)
    }
}

/// Reads the databases of dpkg, apk and rpm in a tree. What has the name of one and is none of them is left alone.
///
/// # Errors
/// What could not be read, and for a database that is damaged or too large.
pub fn inventory(world: &dyn World, tree: &Tree) -> WorldResult<Inventory> {
    collected(&OfTree(world, tree))
}

fn collected(files: &dyn Files) -> WorldResult<Inventory> {
    let mut found = Inventory::default();
    for path in RELEASES {
        if let Some(text) = text(files, path, MAX_DATABASE)? {
            found.release = (value(&text, "ID"), value(&text, "VERSION_ID"));
            break;
        }
    }
    if let Some(text) = text(files, DPKG, MAX_DATABASE)? {
        found.add(of_dpkg(&text, true));
    }
    found.add_parts(files)?;
    for path in APK {
        if let Some(text) = text(files, path, MAX_DATABASE)? {
            found.add(of_apk(&text));
            break;
        }
    }
    found.add_rpm(files)?;
    found
        .packages
        .sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    found.packages.dedup();
    Ok(found)
}

/// A file that has no more bytes than `limit`; `None` where there is no file.
fn bytes(files: &dyn Files, path: &str, limit: u64) -> WorldResult<Option<Vec<u8>>> {
    match files.read(path, limit + 1) {
        Err(WorldError::NotAFile(_)) => Ok(None),
        Ok(Some(bytes)) if bytes.len() as u64 > limit => Err(WorldError::other(format!(
            "list the packages: /{path} is too large"
        ))),
        read => read,
    }
}

fn text(files: &dyn Files, path: &str, limit: u64) -> WorldResult<Option<String>> {
    let bytes = bytes(files, path, limit)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

impl Inventory {
    /// How many packages more are listed.
    fn room(&self) -> usize {
        MAX_PACKAGES.saturating_sub(self.packages.len())
    }

    fn add(&mut self, packages: impl IntoIterator<Item = Package>) {
        let room = self.room();
        self.packages.extend(packages.into_iter().take(room));
    }

    /// The packages that have a file each. All files together have the limit of one database: they may be many names of
    /// one file.
    fn add_parts(&mut self, files: &dyn Files) -> WorldResult<()> {
        let mut left = MAX_DATABASE;
        let names = files.names(DPKG_PARTS)?.into_iter();
        // Beside each are the digests of its package's files.
        let names = names.filter(|name| !name.ends_with(".md5sums"));
        for name in names.take(MAX_PACKAGES) {
            if self.room() == 0 {
                break;
            }
            if let Some(bytes) = bytes(files, &format!("{DPKG_PARTS}/{name}"), left)? {
                left -= bytes.len() as u64;
                self.add(of_dpkg(&String::from_utf8_lossy(&bytes), false));
            }
        }
        Ok(())
    }

    fn add_rpm(&mut self, files: &dyn Files) -> WorldResult<()> {
        for (path, store) in rpm::PLACES {
            let Some(bytes) = bytes(files, path, MAX_RPM)? else {
                continue;
            };
            match rpm::packages(store, &bytes, self.room()) {
                Ok(packages) => {
                    self.add(packages);
                    break;
                }
                // Empty, or of another kind of machine: the packages may be in the next place.
                Err(rpm::Damaged::Kind(_)) => {}
                Err(why) => {
                    let text = format!("read rpm's database /{path}");
                    return Err(WorldError::caused(text, why));
                }
            }
        }
        Ok(())
    }
}

/// A line `NAME="value"`.
fn value(text: &str, name: &str) -> String {
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_default();
    value.trim().trim_matches(['"', '\'']).to_owned()
}

/// What is read of a paragraph.
const FIELDS: [&str; 5] = ["Package", "Status", "Version", "Architecture", "Maintainer"];

/// The paragraphs of `status` whose package is installed (deb822(5)); in other files none says whether it is.
fn of_dpkg(text: &str, told: bool) -> impl Iterator<Item = Package> + '_ {
    text.split("\n\n").filter_map(move |paragraph| {
        let fields: BTreeMap<&str, &str> = paragraph
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| FIELDS.contains(key))
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
    use std::cell::Cell;

    /// Files by their paths; a directory has no bytes.
    #[derive(Default)]
    struct Image {
        files: BTreeMap<String, Option<Vec<u8>>>,
        read: Cell<usize>,
    }

    impl Image {
        fn with(mut self, path: &str, bytes: Option<&[u8]>) -> Self {
            self.files
                .insert(path.to_owned(), bytes.map(<[u8]>::to_vec));
            self
        }
    }

    impl Files for Image {
        fn read(&self, path: &str, limit: u64) -> WorldResult<Option<Vec<u8>>> {
            match self.files.get(path) {
                None => Ok(None),
                Some(None) => Err(WorldError::NotAFile(path.to_owned())),
                Some(Some(bytes)) => {
                    let length = bytes.len().min(usize::try_from(limit).unwrap());
                    self.read.set(self.read.get() + length);
                    Ok(Some(bytes[..length].to_vec()))
                }
            }
        }

        fn names(&self, path: &str) -> WorldResult<Vec<String>> {
            let names = self.files.keys();
            let names = names.filter_map(|name| name.strip_prefix(path)?.strip_prefix('/'));
            Ok(names.map(str::to_owned).collect())
        }
    }

    fn names(image: &Image) -> Vec<String> {
        let found = collected(image).unwrap().packages.into_iter();
        found.map(|package| package.name).collect()
    }

    #[test]
    fn what_is_no_database_is_left_alone() {
        let mut big_endian = vec![0; 512];
        big_endian[12..16].copy_from_slice(&0x0006_1561_u32.to_be_bytes());
        let image = Image::default()
            .with("var/lib/dpkg/status", None)
            .with("var/lib/dpkg/status.d/directory", None)
            .with("var/lib/dpkg/status.d/a", Some(b"Package: a\nVersion: 1\n"))
            .with("usr/lib/sysimage/rpm/rpmdb.sqlite", Some(b""))
            .with("usr/lib/sysimage/rpm/Packages", None)
            .with("var/lib/rpm/Packages", Some(&big_endian));
        assert_eq!(names(&image), ["a"]);
        let image = image.with("var/lib/rpm/rpmdb.sqlite", Some(rpm::SAMPLE));
        assert_eq!(names(&image), ["a", "bash", "openssl-libs", "tzdata"]);
    }

    #[test]
    fn no_more_is_read_than_is_listed() {
        let mut image = Image::default();
        for number in 0..MAX_PACKAGES + 7 {
            let text = format!("Package: p{number}\n\nPackage: q{number}\n");
            image = image.with(&format!("{DPKG_PARTS}/{number}"), Some(text.as_bytes()));
        }
        assert_eq!(names(&image).len(), MAX_PACKAGES);
        assert!(image.read.get() < MAX_PACKAGES * 20, "half of the files");
        // Names of one file.
        let mut image = Image::default();
        for number in 0..9 {
            let long = vec![b'x'; 16 << 20];
            image = image.with(&format!("{DPKG_PARTS}/{number}"), Some(&long));
        }
        let error = collected(&image).unwrap_err().to_string();
        assert!(error.ends_with("status.d/4 is too large"), "{error}");
        assert_eq!(image.read.get() as u64, MAX_DATABASE + 1);
    }

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
