//! The handlers, a file per noun, and the table that leads to them.

mod system;

use crate::router::Route;
use http::Method;

/// Makes the table: a method, a pattern and the path of an async handler per line.
macro_rules! routes {
    ($($method:ident $pattern:literal => $handler:path,)*) => {
        &[$(Route {
            method: Method::$method,
            pattern: $pattern,
            handler: |request| Box::pin($handler(request)),
        },)*]
    };
}

/// Every path that is answered, in the order in which they are tried.
pub(crate) static ROUTES: &[Route] = routes! {
    GET "/_ping" => system::ping,
    HEAD "/_ping" => system::ping,
};
