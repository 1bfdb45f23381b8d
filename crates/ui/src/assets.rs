//! The page's files, which are part of the program.

/// One file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The path it is asked for by.
    pub path: &'static str,
    /// Its media type, for `Content-Type`.
    pub media_type: &'static str,
    /// What is in it.
    pub content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal,)*) => {
        &[$(Asset {
            path: $path,
            media_type: $kind,
            content: include_str!(concat!("../assets/", $file)),
        },)*]
    };
}

/// All of them.
pub const ASSETS: &[Asset] = assets! {
    "/" HTML "index.html",
    "/style.css" STYLE "style.css",
    "/icon.svg" PICTURE "icon.svg",
    "/app.js" SCRIPT "app.js",
    "/api.js" SCRIPT "api.js",
    "/dom.js" SCRIPT "dom.js",
    "/format.js" SCRIPT "format.js",
    "/chart.js" SCRIPT "chart.js",
    "/overview.js" SCRIPT "overview.js",
    "/containers.js" SCRIPT "containers.js",
    "/container.js" SCRIPT "container.js",
    "/logs.js" SCRIPT "logs.js",
    "/images.js" SCRIPT "images.js",
    "/stores.js" SCRIPT "stores.js",
    "/networks.js" SCRIPT "networks.js",
    "/terminal.js" SCRIPT "terminal.js",
    "/screen.js" SCRIPT "screen.js",
};

/// The file at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_files_that_are_there_and_for_no_others() {
        for asset in ASSETS {
            let quoted = asset.content.split('"').skip(1).step_by(2);
            for path in quoted.filter(|text| text.ends_with(".js") || text.ends_with(".css")) {
                let path = path.trim_start_matches('.');
                assert!(find(path).is_some(), "{} asks for {path}", asset.path);
            }
        }
    }

    /// The content security policy would refuse these, and a page that is only half there would be the result.
    #[test]
    fn nothing_is_made_of_text_that_could_be_markup() {
        for asset in ASSETS {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                " style=",
                "onclick=",
                "<style",
                "javascript:",
                "https://",
            ] {
                assert!(!asset.content.contains(word), "{}: {word}", asset.path);
            }
        }
    }

    #[test]
    fn files_are_of_a_readable_length() {
        for asset in ASSETS {
            assert!(asset.content.lines().count() <= 500, "{}", asset.path);
        }
    }
}
