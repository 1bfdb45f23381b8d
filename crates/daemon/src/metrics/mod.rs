//! `/metrics` at `metrics-addr`: what Prometheus collects. Families that dockerd has are named as its are; Hull's own begin
//! with `hull_`.

mod actions;
mod text;

use crate::app::{App, TakenOver};
use crate::error::{ApiError, Form as ErrorForm};
use crate::reply::{self, Held, Reply};
use crate::transport::Handover;
use crate::ui::watch::counters;
pub(crate) use actions::Actions;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use hull_engine::Counts;
use hull_engine::container::stats::{HostLoad, Sample};
use hull_engine::container::{Details, ListOptions, State};
use hull_engine::system::Info;
use hyper::body::Incoming;
use std::sync::Arc;
use text::{Form, Page};

/// Answers one request of the listener for metrics.
///
/// # Errors
/// None; nobody takes such a connection over.
pub(crate) async fn answer(
    app: Arc<App>,
    handover: Arc<Handover>,
    request: http::Request<Incoming>,
) -> Result<Response<Held>, TakenOver> {
    let accept = request.headers().get(ACCEPT);
    let form = Form::of(
        accept
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
    );
    let reply = if request.uri().path() == "/metrics" {
        app.engine.ready().await;
        write(&app, form)
            .await
            .unwrap_or_else(|error| reply::refuse(&error))
    } else {
        let mut error = ApiError::not_found("404 page not found");
        error.form = ErrorForm::Text;
        reply::refuse(&error)
    };
    Ok(reply.map(|body| Held::new(body, handover.reply())))
}

async fn write(app: &App, form: Form) -> Result<Reply, ApiError> {
    let engine = &app.engine;
    let everything = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    let listed = engine.list(everything).await?;
    let load = engine.load_of_all().await?;
    let info = engine.info().await?;
    let mut page = Page::new(form);
    app.actions.write(&mut page);
    daemon(&mut page, &info, &listed, engine.counted());
    host(&mut page, &load.host);
    containers(&mut page, &listed, &load.containers);
    let mut reply = reply::with_body(StatusCode::OK, page.finish());
    let kind = HeaderValue::from_static(form.media_type());
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(reply)
}

/// What dockerd has.
fn daemon(page: &mut Page, info: &Info, listed: &[Details], counts: Counts) {
    page.family(
        "engine_daemon_container_states_containers",
        "gauge",
        "The count of containers in various states",
    );
    let of =
        |wanted: fn(&State) -> bool| listed.iter().filter(|one| wanted(&one.state)).count() as f64;
    let running = of(|state| matches!(state, State::Running { .. }));
    let paused = of(|state| matches!(state, State::Paused { .. }));
    let stopped = listed.len() as f64 - running - paused;
    for (state, count) in [
        ("paused", paused),
        ("running", running),
        ("stopped", stopped),
    ] {
        page.sample(&[("state", state)], count);
    }
    page.single(
        "engine_daemon_engine_cpus_cpus",
        "gauge",
        "The number of cpus that the host system of the engine has",
        info.cpus as f64,
    );
    page.family(
        "engine_daemon_engine_info",
        "gauge",
        "The information related to the engine and the OS it is running on",
    );
    let labels = [
        ("architecture", info.architecture.as_str()),
        ("commit", concat!("hull-", env!("CARGO_PKG_VERSION"))),
        ("daemon_id", info.id.as_str()),
        ("graphdriver", info.driver.as_str()),
        ("kernel", info.kernel_version.as_str()),
        ("os", info.operating_system.as_str()),
        ("os_type", "linux"),
        ("os_version", info.os_version.as_str()),
        ("version", hull_api::DOCKER),
    ];
    page.sample(&labels, 1.0);
    page.single(
        "engine_daemon_engine_memory_bytes",
        "gauge",
        "The number of bytes of memory that the host system of the engine has",
        info.memory as f64,
    );
    work(page, &counts);
    pulls(page, &counts);
    page.single(
        "hull_images",
        "gauge",
        "Images in the store",
        info.images as f64,
    );
}

/// What has happened, as dockerd counts it.
fn work(page: &mut Page, counts: &Counts) {
    page.single(
        "engine_daemon_events_subscribers_total",
        "gauge",
        "The number of current subscribers to events",
        counts.listeners as f64,
    );
    page.single(
        "engine_daemon_events_total",
        "counter",
        "The number of events logged",
        counts.events as f64,
    );
    page.single(
        "engine_daemon_health_checks_failed_total",
        "counter",
        "The total number of failed health checks",
        counts.failed_checks as f64,
    );
    page.single(
        "engine_daemon_health_checks_total",
        "counter",
        "The total number of health checks",
        counts.checks as f64,
    );
}

/// Pulls, which dockerd does not count.
fn pulls(page: &mut Page, counts: &Counts) {
    page.single(
        "hull_pulls_total",
        "counter",
        "Pulls that went well",
        counts.pulls as f64,
    );
    page.single(
        "hull_pulls_failed_total",
        "counter",
        "Pulls that began and failed",
        counts.failed_pulls as f64,
    );
    page.single(
        "hull_pull_layers_total",
        "counter",
        "Layers that were fetched",
        counts.layers as f64,
    );
    page.single(
        "hull_pull_bytes_total",
        "counter",
        "Bytes of layers that came from registries",
        counts.bytes as f64,
    );
    page.single(
        "hull_pull_download_seconds_total",
        "counter",
        "How long layers came from registries, their sum",
        counts.downloading.as_secs_f64(),
    );
    page.single(
        "hull_pull_unpack_seconds_total",
        "counter",
        "How long layers took from their last byte until they were unpacked, their sum",
        counts.unpacking.as_secs_f64(),
    );
}

/// The machine.
fn host(page: &mut Page, load: &HostLoad) {
    page.single(
        "hull_host_cpu_seconds_total",
        "counter",
        "Time that the machine's processors worked",
        load.cpu as f64 / 1e9,
    );
    page.single(
        "hull_host_memory_bytes",
        "gauge",
        "Memory of the machine that is not available",
        load.memory as f64,
    );
    page.family(
        "hull_host_pressure_seconds_total",
        "counter",
        "Time in which some task waited for the resource",
    );
    for (resource, time) in ["cpu", "memory", "io"].into_iter().zip(load.pressure) {
        if let Some(time) = time {
            page.sample(&[("resource", resource)], time as f64 / 1e6);
        }
    }
    page.single(
        "hull_data_root_used_bytes",
        "gauge",
        "Bytes in use of the file system that the data root is on",
        load.space.0 as f64,
    );
    page.single(
        "hull_data_root_size_bytes",
        "gauge",
        "Bytes of the file system that the data root is on",
        load.space.1 as f64,
    );
}

/// A family of containers' numbers: name, kind, help, and the number; what has none has no sample.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Sample) -> Option<f64>,
);

const FAMILIES: &[Family] = &[
    (
        "hull_container_cpu_seconds_total",
        "counter",
        "Processor time",
        |sample| Some(counters(sample).cpu as f64 / 1e9),
    ),
    (
        "hull_container_cpu_throttled_seconds_total",
        "counter",
        "Time waited for the processors' quota",
        |sample| Some(sample.usage.cpu.throttled as f64 / 1e9),
    ),
    (
        "hull_container_memory_bytes",
        "gauge",
        "Memory without the page cache that can go, as docker stats has it",
        |sample| Some(counters(sample).memory as f64),
    ),
    (
        "hull_container_memory_limit_bytes",
        "gauge",
        "The most memory it may have",
        |sample| {
            let limit = sample.usage.memory.usage.limit;
            (limit < sample.memory).then_some(limit as f64)
        },
    ),
    (
        "hull_container_pids",
        "gauge",
        "Processes and threads",
        |sample| Some(sample.usage.pids.current as f64),
    ),
    (
        "hull_container_network_receive_bytes_total",
        "counter",
        "Bytes that came from its networks",
        |sample| Some(counters(sample).received as f64),
    ),
    (
        "hull_container_network_transmit_bytes_total",
        "counter",
        "Bytes that went to its networks",
        |sample| Some(counters(sample).sent as f64),
    ),
    (
        "hull_container_disk_read_bytes_total",
        "counter",
        "Bytes read from block devices",
        |sample| Some(counters(sample).read as f64),
    ),
    (
        "hull_container_disk_written_bytes_total",
        "counter",
        "Bytes written to block devices",
        |sample| Some(counters(sample).written as f64),
    ),
];

/// All containers, and what those use that run.
fn containers(page: &mut Page, listed: &[Details], load: &[(String, String, Arc<Sample>)]) {
    page.family(
        "hull_container_info",
        "gauge",
        "A container and what it is made of",
    );
    for one in listed {
        let labels = [
            ("id", one.id.as_str()),
            ("name", one.name.as_str()),
            ("image", one.image_name.as_str()),
            ("state", one.state.as_str()),
        ];
        page.sample(&labels, 1.0);
    }
    for (name, kind, help, number) in FAMILIES {
        page.family(name, kind, help);
        for (id, container, sample) in load {
            if let Some(value) = number(sample) {
                page.sample(&[("id", id), ("name", container)], value);
            }
        }
    }
}
