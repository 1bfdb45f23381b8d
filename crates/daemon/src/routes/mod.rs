//! The handlers, a file per noun, and the table that leads to them.

mod access;
mod archive;
mod attach;
mod attach_ws;
mod build;
mod buildkit;
mod check;
mod checkpoint;
mod container;
mod copy;
mod debug;
mod direct_build;
mod event;
mod exec;
mod exec_ws;
mod image;
mod logs;
mod manifest;
mod network;
#[cfg(test)]
mod page;
mod plugin;
mod pull;
mod push;
mod search;
mod stats;
mod swarm;
mod system;
mod volume;
mod wait;
mod watch;

pub(crate) use image::platform;
pub(crate) use pull::who;

use crate::router::Route;
use http::Method;

/// Makes the table: a method, a pattern and the path of an async handler per line; between them, if something of what
/// dockerd's endpoint does is missing, `lacks` and what that is. The page of endpoints (`docs/endpoints.md`) is made from it.
macro_rules! routes {
    ($($method:ident $pattern:literal $(lacks $lacks:literal)? => $handler:path,)*) => {
        &[$(Route {
            method: Method::$method,
            pattern: $pattern,
            handler: |request| Box::pin($handler(request)),
            name: stringify!($handler),
            lacks: concat!($($lacks)?),
        },)*]
    };
}

/// Every path that is answered, in the order in which they are tried.
pub(crate) static ROUTES: &[Route] = routes! {
    GET "/_ping" => system::ping,
    HEAD "/_ping" => system::ping,
    OPTIONS "/{}" => system::options,
    GET "/version" => system::version,
    GET "/info" => system::info,
    GET "/system/df" => system::disk_usage,
    POST "/auth" => system::auth,
    GET "/events" => event::events,
    POST "/hull/system/check" => check::check,
    GET "/hull/access" => access::list,
    POST "/hull/access/create" => access::create,
    GET "/hull/access/{}" => access::inspect,
    DELETE "/hull/access/{}" => access::remove,
    POST "/hull/build" => direct_build::build,
    POST "/hull/build/answer" => direct_build::answer,
    GET "/hull/build/answer" => direct_build::answer,
    GET "/debug/vars" lacks "memstats: Hull has no Go runtime" => debug::vars,
    GET "/debug/pprof/cmdline" => debug::command_line,
    GET "/debug/pprof/" lacks "all profiles: Hull has no Go runtime" => debug::profile,
    GET "/debug/pprof/{}" lacks "all profiles: Hull has no Go runtime" => debug::profile,
    POST "/build/prune" => build::prune,
    POST "/build/cancel" => build::cancel,
    POST "/build" => build::build,

    GET "/containers/json" => container::list,
    POST "/containers/create" => container::create,
    POST "/containers/prune" => container::prune,
    GET "/containers/{}/json" => container::inspect,
    POST "/containers/{}/start" => container::start,
    POST "/containers/{}/stop" => container::stop,
    POST "/containers/{}/restart" => container::restart,
    POST "/containers/{}/kill" => container::kill,
    POST "/containers/{}/pause" => container::pause,
    POST "/containers/{}/unpause" => container::unpause,
    POST "/containers/{}/update" => container::update,
    POST "/containers/{}/rename" => container::rename,
    POST "/containers/{}/resize" => container::resize,
    POST "/containers/{}/wait" => wait::wait,
    POST "/containers/{}/attach" => attach::attach,
    GET "/containers/{}/attach/ws" => attach_ws::attach,
    POST "/containers/{}/exec" => exec::create,
    GET "/containers/{}/logs" => logs::logs,
    GET "/containers/{}/top" => container::top,
    GET "/containers/{}/stats" => stats::stats,
    GET "/containers/{}/changes" => archive::changes,
    GET "/containers/{}/export" => archive::export,
    HEAD "/containers/{}/archive" => copy::stat,
    GET "/containers/{}/archive" => copy::get,
    PUT "/containers/{}/archive" => copy::put,
    POST "/commit" => archive::commit,
    GET "/containers/{}/checkpoints" => checkpoint::list,
    POST "/containers/{}/checkpoints" => checkpoint::create,
    DELETE "/containers/{}/checkpoints/{}" => checkpoint::remove,
    DELETE "/containers/{}" => container::remove,

    POST "/exec/{}/start" => exec::start,
    POST "/exec/{}/resize" => exec::resize,
    GET "/exec/{}/json" => exec::inspect,

    GET "/images/json" => image::list,
    GET "/images/search" => search::search,
    POST "/images/create" => pull::create,
    POST "/images/prune" => image::prune,
    GET "/images/get" => archive::save,
    GET "/images/{}/get" => archive::save_one,
    POST "/images/load" => archive::load,
    GET "/images/{}/json" => image::inspect,
    GET "/images/{}/history" => image::history,
    POST "/images/{}/tag" => image::tag,
    POST "/images/{}/push" => push::push,
    GET "/distribution/{}/json" => push::distribution,
    DELETE "/images/{}" => image::remove,

    GET "/hull/manifests/{}" => manifest::get,
    PUT "/hull/manifests/{}" => manifest::put,
    GET "/networks" => network::list,
    GET "/networks/" => network::list,
    POST "/networks/prune" => network::prune,
    POST "/networks/create" => network::create,
    GET "/networks/{}" => network::inspect,
    DELETE "/networks/{}" => network::remove,
    POST "/networks/{}/connect" => network::connect,
    POST "/networks/{}/disconnect" => network::disconnect,
    GET "/hull/networks/explain" => network::explain,
    GET "/volumes" => volume::list,
    POST "/volumes/create" => volume::create,
    POST "/volumes/prune" => volume::prune,
    GET "/volumes/{}" => volume::inspect,
    DELETE "/volumes/{}" => volume::remove,

    GET "/plugins" => plugin::list,
    GET "/plugins/privileges" lacks "asking registries: Hull runs no managed plugins" => plugin::fetch,
    POST "/plugins/pull" lacks "pulling: Hull runs no managed plugins" => plugin::fetch,
    POST "/plugins/create" lacks "creating: Hull runs no managed plugins" => plugin::create,
    GET "/plugins/{}/json" => plugin::missing,
    DELETE "/plugins/{}" => plugin::missing,
    POST "/plugins/{}/enable" => plugin::enable,
    POST "/plugins/{}/disable" => plugin::missing,
    POST "/plugins/{}/upgrade" => plugin::upgrade,
    POST "/plugins/{}/push" => plugin::missing,
    POST "/plugins/{}/set" => plugin::set,

    POST "/session" => buildkit::session,
    POST "/grpc" => buildkit::grpc,

    GET "/swarm" => swarm::outside,
    GET "/swarm/unlockkey" => swarm::outside,
    POST "/swarm/init" lacks "swarm mode" => swarm::init,
    POST "/swarm/join" lacks "swarm mode" => swarm::join,
    POST "/swarm/leave" => swarm::leave,
    POST "/swarm/update" => swarm::update,
    POST "/swarm/unlock" => swarm::create,
    GET "/nodes" => swarm::list,
    GET "/nodes/{}" => swarm::outside,
    DELETE "/nodes/{}" => swarm::outside,
    POST "/nodes/{}/update" => swarm::update,
    GET "/services" => swarm::list,
    POST "/services/create" => swarm::create,
    GET "/services/{}/logs" => swarm::logs,
    GET "/services/{}" => swarm::service,
    DELETE "/services/{}" => swarm::outside,
    POST "/services/{}/update" => swarm::update,
    GET "/tasks" => swarm::list,
    GET "/tasks/{}/logs" => swarm::logs,
    GET "/tasks/{}" => swarm::outside,
    GET "/secrets" => swarm::list,
    POST "/secrets/create" => swarm::create,
    GET "/secrets/{}" => swarm::outside,
    DELETE "/secrets/{}" => swarm::outside,
    POST "/secrets/{}/update" => swarm::update,
    GET "/configs" => swarm::list,
    POST "/configs/create" => swarm::create,
    GET "/configs/{}" => swarm::outside,
    DELETE "/configs/{}" => swarm::outside,
    POST "/configs/{}/update" => swarm::update,
    PUT "/volumes/{}" => swarm::cluster_volume,
};

/// What the web page may ask for: looking, and what a person does with what is there. Not to make containers, which could
/// have all of the host.
pub(crate) static PAGE_ROUTES: &[Route] = routes! {
    GET "/hull/usage" => watch::usage,
    GET "/hull/history" => watch::history,
    GET "/hull/exec/{}/ws" => exec_ws::start,
    GET "/version" => system::version,
    GET "/info" => system::info,
    GET "/system/df" => system::disk_usage,
    GET "/events" => event::events,
    GET "/containers/json" => container::list,
    GET "/containers/{}/json" => container::inspect,
    GET "/containers/{}/logs" => logs::logs,
    GET "/containers/{}/top" => container::top,
    POST "/containers/{}/start" => container::start,
    POST "/containers/{}/stop" => container::stop,
    POST "/containers/{}/restart" => container::restart,
    POST "/containers/{}/kill" => container::kill,
    POST "/containers/{}/pause" => container::pause,
    POST "/containers/{}/unpause" => container::unpause,
    POST "/containers/{}/exec" => exec::create,
    DELETE "/containers/{}" => container::remove,
    POST "/exec/{}/resize" => exec::resize,
    GET "/exec/{}/json" => exec::inspect,
    GET "/images/json" => image::list,
    GET "/images/{}/json" => image::inspect,
    GET "/images/{}/history" => image::history,
    DELETE "/images/{}" => image::remove,
    GET "/networks" => network::list,
    GET "/networks/{}" => network::inspect,
    DELETE "/networks/{}" => network::remove,
    GET "/volumes" => volume::list,
    DELETE "/volumes/{}" => volume::remove,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::find;

    fn leads(method: Method, path: &str) -> Option<(&'static str, String)> {
        find(ROUTES, &method, path).map(|(route, name)| (route.pattern, name.to_owned()))
    }

    #[test]
    fn names_with_slashes_find_their_handler() {
        let found = |method, path| leads(method, path).unwrap();
        assert_eq!(
            found(Method::GET, "/images/json"),
            ("/images/json", String::new())
        );
        assert_eq!(
            found(Method::GET, "/images/127.0.0.1:5000/team/app:1/json"),
            ("/images/{}/json", "127.0.0.1:5000/team/app:1".to_owned())
        );
        assert_eq!(
            found(Method::DELETE, "/images/a/b@sha256:0"),
            ("/images/{}", "a/b@sha256:0".to_owned())
        );
        assert_eq!(found(Method::POST, "/images/a/b/tag").0, "/images/{}/tag");
        assert_eq!(
            found(Method::GET, "/containers/x/attach/ws").0,
            "/containers/{}/attach/ws"
        );
        assert_eq!(
            found(Method::DELETE, "/containers/x"),
            ("/containers/{}", "x".to_owned())
        );
        assert_eq!(
            found(Method::POST, "/containers/create").0,
            "/containers/create"
        );
    }

    #[test]
    fn other_methods_and_paths_are_not_found() {
        for (method, path) in [
            (Method::DELETE, "/version"),
            (Method::POST, "/_ping"),
            (Method::HEAD, "/version"),
            (Method::GET, "/containers/create"),
            (Method::GET, "/containers/abc/"),
            (Method::GET, "/version/"),
            (Method::GET, "/v1.51"),
            (Method::GET, "/"),
            (Method::GET, "/nope"),
        ] {
            assert_eq!(leads(method.clone(), path), None, "{method} {path}");
        }
    }

    #[test]
    fn no_route_hides_another() {
        for (at, route) in ROUTES.iter().enumerate() {
            let path = route.pattern.replace("{}", "name");
            let (found, _) = find(ROUTES, &route.method, &path).unwrap();
            assert!(
                std::ptr::eq(found, &raw const ROUTES[at]),
                "{route:?} is hidden by {found:?}"
            );
        }
    }
}
