//! Tables of images, volumes, networks and disk use.

use hull_api::image::Summary as Image;
use hull_api::network::Inspect as Network;
use hull_api::system::DiskUsage;
use hull_api::volume::Volume;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// How many columns of the screen it wants; the first column takes what is left.
    pub(crate) width: u16,
    /// Numbers are at the right.
    pub(crate) right: bool,
    /// Columns with a higher number go first when the screen is narrow.
    pub(crate) spare: u8,
}

const fn column(title: &'static str, width: u16, right: bool, spare: u8) -> Column {
    Column {
        title,
        width,
        right,
        spare,
    }
}

/// What is in a cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Bytes(f64),
    Count(i64),
    /// Seconds since 1970.
    Time(i64),
    Unknown,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GridRow {
    /// By what the daemon finds it; none for what cannot be removed.
    pub(crate) id: Option<String>,
    pub(crate) cells: Vec<Cell>,
}

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub(crate) columns: &'static [Column],
    rows: Vec<GridRow>,
    pub(crate) at: usize,
    sort: usize,
    pub(crate) filter: String,
    /// Whether the daemon has answered.
    pub(crate) known: bool,
    /// Rows keep the order they came in.
    fixed: bool,
}

pub(crate) static IMAGES: &[Column] = &[
    column("IMAGE", 20, false, 0),
    column("ID", 12, false, 2),
    column("SIZE", 6, true, 0),
    column("CREATED", 8, true, 1),
];
pub(crate) static VOLUMES: &[Column] = &[
    column("VOLUME", 20, false, 0),
    column("DRIVER", 10, false, 1),
    column("CREATED", 8, true, 0),
    column("MOUNTPOINT", 30, false, 2),
];
pub(crate) static NETWORKS: &[Column] = &[
    column("NETWORK", 16, false, 0),
    column("DRIVER", 8, false, 1),
    column("SUBNET", 20, false, 0),
    column("GATEWAY", 16, false, 2),
    column("REACHES", 8, false, 3),
];
pub(crate) static DISK: &[Column] = &[
    column("WHAT", 30, false, 0),
    column("COUNT", 6, true, 1),
    column("IN USE", 6, true, 1),
    column("SIZE", 6, true, 0),
    column("RECLAIMABLE", 11, true, 0),
];

impl Grid {
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            at: 0,
            sort: 0,
            filter: String::new(),
            known: false,
            fixed: false,
        }
    }

    /// One whose rows keep the order they came in.
    pub(crate) fn fixed(columns: &'static [Column]) -> Self {
        Self {
            fixed: true,
            ..Self::new(columns)
        }
    }

    /// Takes over what the daemon said; the selected row stays selected.
    pub(crate) fn replace(&mut self, rows: Vec<GridRow>) {
        let before = self.selected().and_then(|row| row.id.clone());
        self.rows = rows;
        self.known = true;
        self.arrange();
        let same = |row: &&GridRow| row.id.is_some() && row.id == before;
        if let Some(at) = self.shown().iter().position(same) {
            self.at = at;
        }
        self.step(0);
    }

    /// Sorts by the next column.
    pub(crate) fn sort_next(&mut self) {
        if self.fixed {
            return;
        }
        self.sort = (self.sort + 1) % self.columns.len();
        self.arrange();
    }

    fn arrange(&mut self) {
        if self.fixed {
            return;
        }
        let sort = self.sort;
        self.rows.sort_by(|a, b| {
            compare(&a.cells[sort], &b.cells[sort]).then_with(|| compare(&a.cells[0], &b.cells[0]))
        });
    }

    /// The rows that the filter lets through.
    pub(crate) fn shown(&self) -> Vec<&GridRow> {
        let filter = self.filter.to_lowercase();
        let has =
            |cell: &Cell| matches!(cell, Cell::Text(text) if text.to_lowercase().contains(&filter));
        let rows = self.rows.iter();
        rows.filter(|row| filter.is_empty() || row.cells.iter().any(has))
            .collect()
    }

    /// The column that rows are sorted by.
    pub(crate) fn sorted_by(&self) -> Option<usize> {
        (!self.fixed).then_some(self.sort)
    }

    pub(crate) fn selected(&self) -> Option<&GridRow> {
        self.shown().get(self.at).copied()
    }

    /// Selects the row `by` further down, no further than the ends.
    pub(crate) fn step(&mut self, by: isize) {
        let last = self.shown().len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
    }
}

/// Texts from a to z; of numbers the greatest, of times the latest first.
fn compare(a: &Cell, b: &Cell) -> std::cmp::Ordering {
    match (a, b) {
        (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
        (Cell::Bytes(a), Cell::Bytes(b)) => b.total_cmp(a),
        (Cell::Count(a), Cell::Count(b)) | (Cell::Time(a), Cell::Time(b)) => b.cmp(a),
        (Cell::Unknown, Cell::Unknown) => std::cmp::Ordering::Equal,
        (Cell::Unknown, _) => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Less,
    }
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn size(bytes: i64) -> Cell {
    if bytes < 0 {
        return Cell::Unknown;
    }
    Cell::Bytes(bytes as f64)
}

fn time(rfc3339: &str) -> Cell {
    let time = rfc3339.parse::<jiff::Timestamp>();
    time.map_or(Cell::Unknown, |time| Cell::Time(time.as_second()))
}

/// A row per name of an image, one for an image without any.
pub(crate) fn images(images: &[Image]) -> Vec<GridRow> {
    let mut rows = Vec::new();
    for image in images {
        let hex = image
            .id
            .split_once(':')
            .map_or(image.id.as_str(), |(_, hex)| hex);
        let short = hex.get(..12).unwrap_or(hex);
        let mut add = |name: String, id: &str| {
            rows.push(GridRow {
                id: Some(id.to_owned()),
                cells: vec![
                    text(name),
                    text(short),
                    size(image.size),
                    Cell::Time(image.created),
                ],
            });
        };
        for tag in &image.repo_tags {
            add(tag.clone(), tag);
        }
        if image.repo_tags.is_empty() {
            add("<none>".to_owned(), &image.id);
        }
    }
    rows
}

/// A row per volume.
pub(crate) fn volumes(volumes: &[Volume]) -> Vec<GridRow> {
    let row = |volume: &Volume| GridRow {
        id: Some(volume.name.clone()),
        cells: vec![
            text(&volume.name),
            text(&volume.driver),
            time(&volume.created_at),
            text(&volume.mountpoint),
        ],
    };
    volumes.iter().map(row).collect()
}

/// A row per network.
pub(crate) fn networks(networks: &[Network]) -> Vec<GridRow> {
    let row = |network: &Network| {
        let pools = || network.ipam.config.iter().flatten();
        let subnets: Vec<&str> = pools().map(|pool| pool.subnet.as_str()).collect();
        let gateways: Vec<&str> = pools().map(|pool| pool.gateway.as_str()).collect();
        let reaches = if network.internal {
            "internal"
        } else {
            "outside"
        };
        // Those that are always there cannot be removed.
        let own = !matches!(network.name.as_str(), "bridge" | "host" | "none");
        GridRow {
            id: own.then(|| network.id.clone()),
            cells: vec![
                text(&network.name),
                text(&network.driver),
                text(subnets.join(" ")),
                text(gateways.join(" ")),
                text(if network.driver == "null" {
                    "nothing"
                } else {
                    reaches
                }),
            ],
        }
    };
    networks.iter().map(row).collect()
}

/// A row per kind of object, then the largest of each.
pub(crate) fn disk(usage: &DiskUsage) -> Vec<GridRow> {
    let kinds = [
        of_images(usage),
        of_containers(usage),
        of_volumes(usage),
        of_cache(usage),
    ];
    kinds.into_iter().chain(largest(usage)).collect()
}

/// How many there are and are used, how many bytes all and those that nothing uses take.
fn kind(what: &str, (all, used): (usize, usize), (bytes, free): (i64, i64)) -> GridRow {
    let count = |count: usize| Cell::Count(i64::try_from(count).unwrap_or(i64::MAX));
    GridRow {
        id: None,
        cells: vec![
            text(what),
            count(all),
            count(used),
            size(bytes),
            size(free.max(0)),
        ],
    }
}

fn of_images(usage: &DiskUsage) -> GridRow {
    let images = usage.images.as_deref().unwrap_or_default();
    let used = || images.iter().filter(|image| image.containers > 0);
    let kept: i64 = used().map(|i| i.size - i.shared_size.max(0)).sum();
    let bytes = (usage.layers_size, usage.layers_size - kept);
    kind("images", (images.len(), used().count()), bytes)
}

fn of_containers(usage: &DiskUsage) -> GridRow {
    let all = usage.containers.as_deref().unwrap_or_default();
    let runs = |state: &str| matches!(state, "running" | "paused" | "restarting");
    let (used, idle): (Vec<_>, Vec<_>) = all.iter().partition(|one| runs(&one.state));
    let free = idle.iter().map(|one| one.size_rw).sum();
    let bytes = all.iter().map(|one| one.size_rw).sum();
    kind("containers", (all.len(), used.len()), (bytes, free))
}

fn of_volumes(usage: &DiskUsage) -> GridRow {
    let volumes = usage.volumes.iter().flatten();
    let all: Vec<_> = volumes
        .map(|volume| volume.usage_data.clone().unwrap_or_default())
        .collect();
    let (used, idle): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.ref_count > 0);
    let free = idle.iter().map(|one| one.size.max(0)).sum();
    let bytes = all.iter().map(|one| one.size.max(0)).sum();
    kind("volumes", (all.len(), used.len()), (bytes, free))
}

fn of_cache(usage: &DiskUsage) -> GridRow {
    let all = usage.build_cache.as_deref().unwrap_or_default();
    let used = all.iter().filter(|record| record.in_use).count();
    // What is shared is counted elsewhere.
    let own = || all.iter().filter(|record| !record.shared);
    let free = own().filter(|record| !record.in_use);
    let bytes = (
        own().map(|record| record.size).sum(),
        free.map(|record| record.size).sum(),
    );
    kind("build cache", (all.len(), used), bytes)
}

/// The ten objects that take most.
fn largest(usage: &DiskUsage) -> Vec<GridRow> {
    let mut all: Vec<(String, i64)> = Vec::new();
    for image in usage.images.iter().flatten() {
        let name = image
            .repo_tags
            .first()
            .map_or(image.id.as_str(), String::as_str);
        all.push((format!("  image {name}"), image.size));
    }
    for container in usage.containers.iter().flatten() {
        let name = container
            .names
            .first()
            .map_or("", |name| name.trim_start_matches('/'));
        all.push((format!("  container {name}"), container.size_rw));
    }
    for volume in usage.volumes.iter().flatten() {
        let size = volume.usage_data.as_ref().map_or(0, |usage| usage.size);
        all.push((format!("  volume {}", volume.name), size));
    }
    all.retain(|(_, size)| *size > 0);
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(10);
    let row = |(name, bytes): (String, i64)| GridRow {
        id: None,
        cells: vec![
            text(name),
            Cell::Unknown,
            Cell::Unknown,
            size(bytes),
            Cell::Unknown,
        ],
    };
    all.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::volume::UsageData;

    fn volume(name: &str, size: i64, ref_count: i64) -> Volume {
        Volume {
            name: name.to_owned(),
            usage_data: Some(UsageData { ref_count, size }),
            ..Volume::default()
        }
    }

    fn first_cells(grid: &Grid) -> Vec<String> {
        let of = |row: &&GridRow| match &row.cells[0] {
            Cell::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        grid.shown().iter().map(of).collect()
    }

    #[test]
    fn rows_are_sorted_filtered_and_stay_selected() {
        let mut grid = Grid::new(IMAGES);
        let image = |tag: &str, size| Image {
            id: format!("sha256:{tag}000000000000000"),
            repo_tags: vec![tag.to_owned()],
            size,
            ..Image::default()
        };
        grid.replace(images(&[image("b", 5), image("a", 3), Image::default()]));
        assert_eq!(first_cells(&grid), ["<none>", "a", "b"]);
        grid.step(9);
        assert_eq!(grid.selected().unwrap().id.as_deref(), Some("b"));
        grid.replace(images(&[image("c", 5), image("b", 1)]));
        assert_eq!(grid.selected().unwrap().id.as_deref(), Some("b"));
        grid.sort_next();
        grid.sort_next();
        assert_eq!(first_cells(&grid), ["c", "b"]);
        grid.filter = "C".to_owned();
        assert_eq!(first_cells(&grid), ["c"]);
        grid.replace(Vec::new());
        assert!(grid.selected().is_none());
    }

    #[test]
    fn what_nothing_uses_is_reclaimable() {
        let usage = DiskUsage {
            volumes: Some(vec![volume("x", 100, 1), volume("y", 50, 0)]),
            ..DiskUsage::default()
        };
        let rows = disk(&usage);
        let volumes = rows
            .iter()
            .find(|row| row.cells[0] == text("volumes"))
            .unwrap();
        assert_eq!(
            volumes.cells[1..],
            [
                Cell::Count(2),
                Cell::Count(1),
                Cell::Bytes(150.0),
                Cell::Bytes(50.0)
            ]
        );
        assert_eq!(rows[4].cells[0], text("  volume x"));
        assert_eq!(rows.len(), 6);
    }

    #[test]
    fn networks_that_are_always_there_cannot_be_removed() {
        let network = |name: &str| Network {
            name: name.to_owned(),
            id: "x".to_owned(),
            ..Network::default()
        };
        let rows = networks(&[network("bridge"), network("shop")]);
        assert_eq!(
            (rows[0].id.as_deref(), rows[1].id.as_deref()),
            (None, Some("x"))
        );
    }
}
