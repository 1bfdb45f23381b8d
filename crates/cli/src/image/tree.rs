//! `hull images --tree`: images with their platforms, drawn as Docker's client draws them.

use crate::format::{human_size, short_id};
use crate::terminal;
use hull_api::image::{ManifestSummary, Summary};
use std::fmt::Write as _;

/// Between two columns.
const GAP: usize = 3;
/// With less room for names than this the last columns are left out.
const LEAST_NAME: usize = 12;
const WITHOUT_TERMINAL: usize = 80;

const TITLE: Style = Style("\x1b[39m\x1b[1m");
const NAME: Style = Style("\x1b[34m\x1b[1m");
const PLAIN: Style = Style("\x1b[39m");
const ABSENT: Style = Style("\x1b[39m\x1b[2m");
const WARNING: Style = Style("\x1b[93m");
const CHIP: Style = Style("\x1b[38;5;0m\x1b[48;5;14m");

/// Terminal attributes, before what they are of.
#[derive(Clone, Copy)]
struct Style(&'static str);

impl Style {
    fn of(self, text: &str) -> String {
        format!("{}{text}\x1b[0m", self.0)
    }
}

/// What stands in the columns after the name.
struct Details {
    id: String,
    disk: String,
    content: String,
    used: bool,
}

struct Platform {
    name: String,
    available: bool,
    details: Details,
}

struct Image {
    names: Vec<String>,
    details: Details,
    platforms: Vec<Platform>,
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn size(bytes: i64) -> String {
    human_size(bytes as f64, 3)
}

fn platform(manifest: &ManifestSummary) -> Option<Platform> {
    let data = manifest.image_data.as_ref()?;
    let mut name = format!("{}/{}", data.platform.os, data.platform.architecture);
    if !data.platform.variant.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(name, "/{}", data.platform.variant);
    }
    Some(Platform {
        name,
        available: manifest.available,
        details: Details {
            id: manifest.id.clone(),
            disk: size(manifest.size.total),
            content: size(manifest.size.content),
            used: !data.containers.is_empty(),
        },
    })
}

fn image(summary: &Summary) -> Image {
    let manifests = summary.manifests.as_deref().unwrap_or_default();
    let images = manifests.iter().filter(|m| m.kind == "image");
    let content = images.clone().map(|m| m.size.content).sum();
    let platforms: Vec<Platform> = images.filter_map(platform).collect();
    let used = summary.containers > 0 || platforms.iter().any(|p| p.details.used);
    Image {
        names: summary.repo_tags.clone(),
        details: Details {
            id: summary.id.clone(),
            disk: size(summary.size),
            content: size(content),
            used,
        },
        platforms,
    }
}

/// Prints images with their platforms.
pub(super) fn print(images: &[Summary]) {
    let colours = terminal::stdout_is_terminal();
    let width = match terminal::size() {
        (_, columns) if columns > 0 && colours => columns.into(),
        _ => WITHOUT_TERMINAL,
    };
    crate::print(&draw(images, width, colours));
}

fn draw(images: &[Summary], width: usize, colours: bool) -> String {
    let mut images: Vec<(i64, Image)> = images.iter().map(|i| (i.created, image(i))).collect();
    images.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
    let images: Vec<Image> = images.into_iter().map(|(_, image)| image).collect();
    let columns = Columns::new(&images, width, colours);
    let mut out = String::new();
    columns.head(&mut out, width);
    let apart = images.iter().any(|image| !image.platforms.is_empty());
    for image in &images {
        columns.image(&mut out, image);
        if apart {
            out.push('\n');
        }
    }
    out
}

/// The columns' widths.
struct Columns {
    name: usize,
    disk: usize,
    content: usize,
    /// Which of the four columns after the name there is room for.
    shown: usize,
    colours: bool,
}

const ID: usize = 12;
const EXTRA: usize = 5;

impl Columns {
    fn new(images: &[Image], width: usize, colours: bool) -> Self {
        let details = || {
            images.iter().flat_map(|image| {
                let own = image.platforms.iter().map(|p| &p.details);
                own.chain([&image.details])
            })
        };
        let widest = |title: &str, of: fn(&Details) -> &str| {
            let widths = details().map(|d| of(d).chars().count());
            widths.max().unwrap_or(0).max(title.len())
        };
        let disk = widest("DISK USAGE", |d| &d.disk);
        let content = widest("CONTENT SIZE", |d| &d.content);
        let mut room = width;
        let mut shown = 0;
        for column in [ID, disk, content, EXTRA] {
            if room < column + GAP + LEAST_NAME {
                break;
            }
            room -= column + GAP;
            shown += 1;
        }
        let names = images.iter().flat_map(|image| {
            let platforms = image.platforms.iter().map(|p| p.name.chars().count() + 3);
            let names = image.names.iter().map(|name| name.chars().count());
            platforms.chain(names)
        });
        let longest = names.max().unwrap_or(0).max("IMAGE".len());
        Self {
            name: room.min(longest),
            disk,
            content,
            shown,
            colours,
        }
    }

    fn style(&self, style: Style, text: &str) -> String {
        match self.colours {
            true => style.of(text),
            false => text.to_owned(),
        }
    }

    fn head(&self, out: &mut String, width: usize) {
        let warning = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
        out.push_str(&self.style(WARNING, warning));
        out.push('\n');
        // What the chips mean, at the right edge.
        let (legend, length) = if self.colours {
            let legend = format!(
                "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m {} In Use ",
                CHIP.of(" U ")
            );
            (legend, 21)
        } else {
            ("Info ->  U In Use ".to_owned(), 18)
        };
        let _ = writeln!(
            out,
            "{}{legend}\n",
            " ".repeat(width.saturating_sub(length))
        );
        let title = |text: &str| TITLE.of(text);
        let pad = |text: &str, width: usize| " ".repeat(width - text.len());
        let _ = write!(out, "{}{}", title("IMAGE"), pad("IMAGE", self.name));
        for (column, text, width) in self.titles() {
            let gap = " ".repeat(GAP);
            let (before, after) = match column {
                1 | 2 => (pad(text, width), String::new()),
                // Nothing follows the last column's title.
                3 => (String::new(), String::new()),
                _ => (String::new(), pad(text, width)),
            };
            let _ = write!(out, "{gap}{before}{}{after}", title(text));
        }
        out.push('\n');
    }

    fn titles(&self) -> impl Iterator<Item = (usize, &'static str, usize)> {
        let all = [
            ("ID", ID),
            ("DISK USAGE", self.disk),
            ("CONTENT SIZE", self.content),
            ("EXTRA", EXTRA),
        ];
        let shown = all.into_iter().enumerate().take(self.shown);
        shown.map(|(column, (text, width))| (column, text, width))
    }

    fn image(&self, out: &mut String, image: &Image) {
        // All names but the last have lines of their own.
        let last = match image.names.split_last() {
            Some((last, before)) => {
                for name in before {
                    let _ = writeln!(out, "{}", self.style(NAME, name));
                }
                last
            }
            None => "<untagged>",
        };
        let style = if image.names.is_empty() { ABSENT } else { NAME };
        self.row(out, (style, last), (PLAIN, &image.details));
        let count = image.platforms.len();
        for (number, platform) in image.platforms.iter().enumerate() {
            let branch = if number + 1 == count {
                "└─"
            } else {
                "├─"
            };
            let name = format!("{branch} {}", platform.name);
            let style = if platform.available { PLAIN } else { ABSENT };
            self.row(out, (style, &name), (style, &platform.details));
        }
    }

    fn row(&self, out: &mut String, name: (Style, &str), details: (Style, &Details)) {
        let (name_style, name) = name;
        let (style, details) = details;
        let name = shortened(name, self.name);
        let pad = " ".repeat(self.name.saturating_sub(name.chars().count()));
        let _ = write!(out, "{}{pad}", self.style(name_style, &name));
        for (column, _, width) in self.titles() {
            let text = match column {
                0 => short_id(&details.id),
                1 => &details.disk,
                2 => &details.content,
                _ if details.used => "U",
                _ => "",
            };
            let pad = |length: usize| " ".repeat(width.saturating_sub(length));
            let length = text.chars().count();
            let cell = match column {
                0 => format!("{}{}", self.style(style, text), pad(length)),
                1 | 2 => format!("{}{}", pad(length), self.style(style, text)),
                _ if self.colours && details.used => format!("{}{}", CHIP.of(" U "), pad(3)),
                _ => format!("{text}{}", pad(length)),
            };
            let _ = write!(out, "{}{cell}", " ".repeat(GAP));
        }
        out.push('\n');
    }
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::image::{ImageData, ManifestSize, Platform};

    fn manifest(id: &str, architecture: &str, bytes: (i64, i64), used: bool) -> ManifestSummary {
        ManifestSummary {
            id: format!("sha256:{id}{id}{id}{id}"),
            available: bytes.1 > 0,
            size: ManifestSize {
                content: bytes.0,
                total: bytes.1,
            },
            kind: "image".to_owned(),
            image_data: Some(ImageData {
                platform: Platform {
                    architecture: architecture.to_owned(),
                    os: "linux".to_owned(),
                    variant: String::new(),
                },
                containers: if used {
                    vec!["c".to_owned()]
                } else {
                    Vec::new()
                },
                ..ImageData::default()
            }),
            ..ManifestSummary::default()
        }
    }

    /// As Docker's client 28.5 drew the same answer.
    #[test]
    fn platforms_are_drawn_below_their_image() {
        let images = [
            Summary {
                id: "sha256:92968fe8d25518aa".to_owned(),
                repo_tags: vec![
                    "127.0.0.1:15066/h6/multi:1".to_owned(),
                    "second:tag".to_owned(),
                ],
                size: 14_000,
                created: 2,
                manifests: Some(vec![
                    manifest("84a4", "arm64", (1338, 15_338), false),
                    manifest("a0e3", "amd64", (1323, 15_323), true),
                    ManifestSummary {
                        kind: "attestation".to_owned(),
                        ..ManifestSummary::default()
                    },
                ]),
                ..Summary::default()
            },
            Summary {
                id: "sha256:b688062bac854a55".to_owned(),
                repo_tags: vec!["a-very-long-name-of-a-repository/that-goes-on:1".to_owned()],
                size: 24_000,
                created: 1,
                ..Summary::default()
            },
        ];
        let lines = [
            "\x1b[39m\x1b[1mIMAGE\x1b[0m                           \x1b[39m\x1b[1mID\x1b[0m             \x1b[39m\x1b[1mDISK USAGE\x1b[0m   \x1b[39m\x1b[1mCONTENT SIZE\x1b[0m   \x1b[39m\x1b[1mEXTRA\x1b[0m",
            "127.0.0.1:15066/h6/multi:1",
            "second:tag                      92968fe8d255         14kB         2.66kB   U    ",
            "├─ linux/arm64                  84a484a484a4       15.3kB         1.34kB        ",
            "└─ linux/amd64                  a0e3a0e3a0e3       15.3kB         1.32kB   U    ",
            "",
            "a-very-long-name-of-a-reposi…   b688062bac85         24kB             0B        ",
            "",
            "",
        ];
        let drawn = draw(&images, 80, false);
        let body = drawn.split("In Use \n\n").nth(1).unwrap();
        assert_eq!(body, lines.join("\n"));
        let narrow = draw(&images, 60, false);
        assert!(
            narrow.contains("a-very-long-name…   b688062bac85"),
            "{narrow}"
        );
        assert!(!narrow.contains("EXTRA"));
    }
}
