//! `docs/endpoints.md`, made from the table of routes; and that nothing of dockerd's is missing in it.

use super::ROUTES;
use crate::router::{Route, find};
use http::Method;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The endpoints of dockerd 28.5, API 1.51, with those that its reference does not tell of.
const DOCKERD: &str = "\
GET /containers/json
POST /containers/create
GET /containers/{}/json
GET /containers/{}/top
GET /containers/{}/logs
GET /containers/{}/changes
GET /containers/{}/export
GET /containers/{}/stats
POST /containers/{}/resize
POST /containers/{}/start
POST /containers/{}/stop
POST /containers/{}/restart
POST /containers/{}/kill
POST /containers/{}/update
POST /containers/{}/rename
POST /containers/{}/pause
POST /containers/{}/unpause
POST /containers/{}/attach
GET /containers/{}/attach/ws
POST /containers/{}/wait
DELETE /containers/{}
HEAD /containers/{}/archive
GET /containers/{}/archive
PUT /containers/{}/archive
POST /containers/prune
POST /commit
GET /images/json
POST /build
POST /build/prune
POST /images/create
GET /images/{}/json
GET /images/{}/history
POST /images/{}/push
POST /images/{}/tag
DELETE /images/{}
GET /images/search
POST /images/prune
GET /images/{}/get
GET /images/get
POST /images/load
POST /auth
GET /info
GET /version
GET /_ping
HEAD /_ping
GET /events
GET /system/df
POST /containers/{}/exec
POST /exec/{}/start
POST /exec/{}/resize
GET /exec/{}/json
GET /volumes
POST /volumes/create
GET /volumes/{}
PUT /volumes/{}
DELETE /volumes/{}
POST /volumes/prune
GET /networks
GET /networks/{}
DELETE /networks/{}
POST /networks/create
POST /networks/{}/connect
POST /networks/{}/disconnect
POST /networks/prune
GET /plugins
GET /plugins/privileges
POST /plugins/pull
GET /plugins/{}/json
DELETE /plugins/{}
POST /plugins/{}/enable
POST /plugins/{}/disable
POST /plugins/{}/upgrade
POST /plugins/create
POST /plugins/{}/push
POST /plugins/{}/set
GET /nodes
GET /nodes/{}
DELETE /nodes/{}
POST /nodes/{}/update
GET /swarm
POST /swarm/init
POST /swarm/join
POST /swarm/leave
POST /swarm/update
GET /swarm/unlockkey
POST /swarm/unlock
GET /services
POST /services/create
GET /services/{}
DELETE /services/{}
POST /services/{}/update
GET /services/{}/logs
GET /tasks
GET /tasks/{}
GET /tasks/{}/logs
GET /secrets
POST /secrets/create
GET /secrets/{}
DELETE /secrets/{}
POST /secrets/{}/update
GET /configs
POST /configs/create
GET /configs/{}
DELETE /configs/{}
POST /configs/{}/update
GET /distribution/{}/json
POST /session
POST /build/cancel
POST /grpc
GET /containers/{}/checkpoints
POST /containers/{}/checkpoints
DELETE /containers/{}/checkpoints/{}
GET /networks/
GET /debug/vars
GET /debug/pprof/
GET /debug/pprof/cmdline
GET /debug/pprof/{}";

fn page() -> String {
    let mut page = String::from(
        "# Endpoints\n\n\
        Every path that the daemon answers, in the order in which they are tried; made from the table in\n\
        `crates/daemon/src/routes/mod.rs` by `HULL_WRITE_PAGE=1 cargo test -p hull-daemon page`, and held to it by the same test.\n\
        All of them exist with and without a version in front: `/v1.24/…` to `/v1.51/…`. Paths that begin with `/hull` are Hull's\n\
        own and told of in `hull-api.md`. How the answers compare with dockerd's, field by field: `tests/differential/`.\n",
    );
    let mut group = "";
    for route in ROUTES {
        let noun = route.pattern.split('/').nth(1).unwrap_or_default();
        if group != noun {
            group = noun;
            let title = match noun {
                "{}" => "any path",
                noun => noun,
            };
            let _ = write!(
                page,
                "\n## {title}\n\n| | path | handler | lacks |\n|---|---|---|---|\n"
            );
        }
        page.push_str(&line(route));
    }
    page
}

fn line(route: &Route) -> String {
    let (file, handler) = route.name.rsplit_once("::").unwrap_or(("", route.name));
    let lacks = route.lacks;
    let path = route.pattern.replace("{}", "{name}");
    format!(
        "| {} | `{path}` | `{file}.rs` {handler} | {lacks} |\n",
        route.method
    )
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/endpoints.md")
}

#[test]
fn the_page_of_endpoints_is_that_of_the_table() {
    if std::env::var_os("HULL_WRITE_PAGE").is_some() {
        fs_err::write(place(), page()).unwrap();
    }
    let written = fs_err::read_to_string(place()).unwrap_or_default();
    assert_eq!(
        written,
        page(),
        "write it anew: HULL_WRITE_PAGE=1 cargo test -p hull-daemon page"
    );
}

#[test]
fn every_endpoint_of_dockerd_leads_somewhere() {
    let mut missing = Vec::new();
    for endpoint in DOCKERD.lines() {
        let (method, pattern) = endpoint.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let path = pattern.replace("{}", "name");
        if find(ROUTES, &method, &path).is_none_or(|(route, _)| route.pattern != pattern) {
            missing.push(endpoint);
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
