//! What becomes of a build's results: images with names, archives and directories of the client's.

use super::builds::{Build, Planned, Returned};
use super::failure;
use super::session::Caller;
use bollard_buildkit_proto::moby::buildkit::v1::Exporter;
use hull_engine::build::graph::digest_of;
use hull_engine::build::progress::{Event, Status as Part, VertexState, Watch};
use hull_engine::build::solve::{Solution, Solver};
use hull_engine::{Engine, Reference};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::sync::Arc;
use tonic::Status;

/// What clients are told about what was made.
pub(super) type Response = HashMap<String, String>;

/// An exporter, checked before anything is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The image store.
    Image(Named),
    /// A directory of the client's; with the exporter's number.
    Directory(usize),
    /// An archive of the client's, of the files alone.
    Archive(usize),
}

/// An image that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    names: Vec<Reference>,
    /// The time that all of it gets, seconds since 1970.
    epoch: Option<i64>,
}

impl Target {
    /// What an exporter stands for; `None` is nothing, only the cache.
    ///
    /// # Errors
    /// For one that there is not, and for attributes that make no sense.
    pub(super) fn parse(place: usize, exporter: &Exporter) -> Result<Option<Self>, Status> {
        let attribute = |name: &str| exporter.attrs.get(name).map(String::as_str);
        match exporter.r#type.as_str() {
            "moby" | "image" => {
                let names = attribute("name").unwrap_or_default().split(',');
                let names = names.filter(|name| !name.is_empty()).map(|name| {
                    let reference = name.parse::<Reference>();
                    reference.map_err(|error| Status::invalid_argument(error.to_string()))
                });
                let epoch = attribute("source-date-epoch").filter(|text| !text.is_empty());
                let epoch = epoch.map(str::parse).transpose().map_err(|_| {
                    Status::invalid_argument("invalid SOURCE_DATE_EPOCH: no number of seconds")
                })?;
                Ok(Some(Self::Image(Named {
                    names: names.collect::<Result<_, _>>()?,
                    epoch,
                })))
            }
            "local" => Ok(Some(Self::Directory(place))),
            "tar" => Ok(Some(Self::Archive(place))),
            "" | "cacheonly" => Ok(None),
            other => Err(Status::unknown(format!(
                "exporter {other:?} could not be found"
            ))),
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::Image(_) => "exporting to image",
            Self::Directory(_) => "exporting to client directory",
            Self::Archive(_) => "exporting to client tarball",
        }
    }
}

/// Builds what was returned, and exports it. Blocks.
///
/// # Errors
/// What failed, in BuildKit's words.
pub(super) fn export(
    engine: &Arc<Engine>,
    solver: &Solver,
    build: &Build,
    returned: &Returned,
    work: Work<'_>,
) -> Result<Response, Status> {
    let mut solved = Vec::new();
    for (platform, planned) in &returned.images {
        let solution = solve(solver, build, planned)?;
        solved.push(Solved {
            platform,
            planned,
            solution,
        });
    }
    let mut response = Response::new();
    for target in work.targets {
        let told = Told::begin(&*build.context.watch, target.title());
        let exported = match target {
            Target::Image(named) => {
                let image = one(&solved)?;
                export_image(engine, &told, image, &image.config(returned), named)
            }
            Target::Directory(place) => send_directory(engine, &work.caller, *place, &solved),
            Target::Archive(place) => send_archive(engine, &work.caller, *place, &solved),
        };
        told.end(exported.as_ref().err());
        response.extend(exported?);
    }
    Ok(response)
}

/// What is to be done with results.
pub(super) struct Work<'a> {
    pub(super) targets: &'a [Target],
    pub(super) caller: Box<dyn Fn() -> Result<Caller, Status> + 'a>,
}

/// A result that was built.
struct Solved<'a> {
    platform: &'a str,
    planned: &'a Planned,
    solution: Option<Solution>,
}

impl Solved<'_> {
    /// Its config, with what the client may have changed in it.
    fn config(&self, returned: &Returned) -> Vec<u8> {
        let key = match self.platform {
            "" => "containerimage.config".to_owned(),
            platform => format!("containerimage.config/{platform}"),
        };
        let config = returned.metadata.get(&key);
        config.unwrap_or(&self.planned.image().config).clone()
    }
}

fn solve(solver: &Solver, build: &Build, planned: &Planned) -> Result<Option<Solution>, Status> {
    let Some(output) = planned.image().output else {
        return Ok(None);
    };
    let solved = solver.solve(&planned.plan.graph, &[output], &build.context);
    let solved = solved.map_err(|error| failure::of_solve(&error, &planned.plan.sources))?;
    Ok(solved.into_iter().next())
}

fn one<'a, 'b>(solved: &'a [Solved<'b>]) -> Result<&'a Solved<'b>, Status> {
    match solved {
        [one] => Ok(one),
        [] => Err(Status::unknown("there is nothing to be exported")),
        _ => Err(Status::unknown(
            "exporting multiple references to image store is currently unsupported",
        )),
    }
}

fn export_image(
    engine: &Arc<Engine>,
    told: &Told<'_>,
    image: &Solved<'_>,
    config: &[u8],
    named: &Named,
) -> Result<Response, Status> {
    let Named { names, epoch } = named;
    let layers = told.part("exporting layers");
    let made = engine
        .export_image(image.solution.as_ref(), config, names, *epoch)
        .map_err(|error| failure::of_engine(&error))?;
    layers.done();
    told.part(&format!("writing image {}", made.id)).done();
    for name in names {
        told.part(&format!("naming to {name}")).done();
    }
    let mut response = Response::from([
        (
            "containerimage.config.digest".to_owned(),
            made.id.to_string(),
        ),
        ("containerimage.digest".to_owned(), made.id.to_string()),
    ]);
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        response.insert("image.name".to_owned(), names.join(","));
    }
    Ok(response)
}

type GetCaller<'a> = dyn Fn() -> Result<Caller, Status> + 'a;

fn send_directory(
    engine: &Engine,
    caller: &GetCaller<'_>,
    place: usize,
    solved: &[Solved<'_>],
) -> Result<Response, Status> {
    let caller = caller()?;
    let solution = one(solved)?.solution.as_ref();
    let view = solution.map(|files| engine.export_files(files)).transpose();
    let view = view.map_err(|error| failure::of_engine(&error))?.flatten();
    // Of no files there is nothing to be sent.
    if let Some(view) = view {
        let path = PathBuf::from(format!("/proc/self/fd/{}", view.as_fd().as_raw_fd()));
        caller
            .send_directory(place, &path)
            .map_err(|error| Status::unknown(error.to_string()))?;
    }
    Ok(Response::new())
}

fn send_archive(
    engine: &Engine,
    caller: &GetCaller<'_>,
    place: usize,
    solved: &[Solved<'_>],
) -> Result<Response, Status> {
    let failed = |error: &dyn std::fmt::Display| Status::unknown(error.to_string());
    let file = caller()?.send_file(place, &BTreeMap::new());
    let mut file = std::io::BufWriter::with_capacity(256 << 10, file.map_err(|e| failed(&e))?);
    match one(solved)?.solution.as_ref() {
        Some(files) => engine
            .export_tar(files, &mut file)
            .map_err(|error| failure::of_engine(&error))?,
        // The end of an archive: two blocks of zeros.
        None => file.write_all(&[0; 1024]).map_err(|e| failed(&e))?,
    }
    let file = file.into_inner().map_err(|e| failed(&e.error()))?;
    file.finish().map_err(|e| failed(&e))?;
    Ok(Response::new())
}

/// An export in the progress.
struct Told<'a> {
    watch: &'a dyn Watch,
    state: VertexState,
}

impl<'a> Told<'a> {
    fn begin(watch: &'a dyn Watch, title: &str) -> Self {
        let now = Timestamp::now();
        let state = VertexState {
            digest: digest_of(&(title, now.as_nanosecond().to_string())),
            inputs: Vec::new(),
            name: title.to_owned(),
            cached: false,
            started: Some(now),
            completed: None,
            error: String::new(),
            group: None,
            location: None,
            description: BTreeMap::new(),
        };
        watch.tell(Event::Vertex(Box::new(state.clone())));
        Self { watch, state }
    }

    fn part(&self, id: &str) -> TellPart<'_> {
        let now = Timestamp::now();
        let part = Part {
            vertex: self.state.digest.clone(),
            id: id.to_owned(),
            name: String::new(),
            current: 0,
            total: 0,
            at: now,
            started: Some(now),
            completed: None,
        };
        self.watch.tell(Event::Status(part.clone()));
        TellPart(self.watch, part)
    }

    fn end(mut self, error: Option<&Status>) {
        self.state.completed = Some(Timestamp::now());
        self.state.error = error
            .map(|error| error.message().to_owned())
            .unwrap_or_default();
        self.watch.tell(Event::Vertex(Box::new(self.state)));
    }
}

/// A part of an export.
struct TellPart<'a>(&'a dyn Watch, Part);

impl TellPart<'_> {
    fn done(mut self) {
        self.1.at = Timestamp::now();
        self.1.completed = Some(self.1.at);
        self.0.tell(Event::Status(self.1));
    }
}
