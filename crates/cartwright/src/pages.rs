//! The storefront and the desk, from inside the binary: hand-written files under `web/`, which use the public API only.
//!
//! A page names the files it needs by a version, the digest of all of them, so that browsers may keep those for good and ask
//! again only for the page itself. Files are compressed once, when they are first asked for. What the pages may do is
//! bounded by a Content-Security-Policy that allows nothing inline and no other host.

use std::io::Write;
use std::sync::{LazyLock, OnceLock};

use axum::body::{Body, Bytes};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};

use crate::error::{Error, Result};

/// Nothing but what is served here; scripts and styles from files only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// How long a browser may keep a file whose URL has the present version.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A browser may keep it, and asks each time whether it is still the same.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// Under which path files are, by their version and their path under `web/`.
pub const FILE_PATH: &str = "/web/{version}/{*file}";
/// Digits of the digest in a version: enough that two sets of files never share one.
const VERSION_DIGITS: usize = 16;
/// What stands in a page for the version.
const VERSION: &str = "VERSION";

macro_rules! files {
    ($($path:literal)*) => { &[$(($path, include_bytes!(concat!("../web/", $path)))),*] };
}

/// Every file, by its path under `web/`.
const FILES: &[(&str, &[u8])] = files! {
    "base.css" "icon.svg" "shop.html" "desk.html"
    "lib/api.js" "lib/dom.js" "lib/feed.js" "lib/format.js" "lib/router.js" "lib/session.js" "lib/ui.js"
    "shop/account.js" "shop/art.js" "shop/basket-model.js" "shop/basket.js" "shop/catalogue.js" "shop/checkout.js"
    "shop/home.js" "shop/inbox.js" "shop/main.js" "shop/order.js" "shop/product.js" "shop/shop.css" "shop/who.js"
    "desk/access.js" "desk/charts.js" "desk/desk.css" "desk/main.js" "desk/map.js" "desk/metrics.js" "desk/orders.js" "desk/products.js"
    "desk/queues.js" "desk/table.js" "desk/timeline.js" "desk/today.js" "desk/webhooks.js"
};

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The storefront, for customers.
    Shop,
    /// The desk, for those who run the shop.
    Desk,
}

impl Page {
    /// Its file, and the folder of its modules.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Page::Shop => ("shop.html", "shop/"),
            Page::Desk => ("desk.html", "desk/"),
        }
    }
}

/// A file as it is sent.
struct Asset {
    path: &'static str,
    kind: HeaderValue,
    plain: Bytes,
    packed: OnceLock<Option<Bytes>>,
    digest: String,
}

impl Asset {
    fn new(path: &'static str, bytes: Bytes) -> Asset {
        let digest = digest_of(&bytes);
        Asset { path, kind: kind_of(path), plain: bytes, packed: OnceLock::new(), digest }
    }

    /// The answer to a request with these headers. Its form, packed or not, has an entity tag of its own.
    fn answer(&self, headers: &HeaderMap, keep: HeaderValue) -> Response {
        let packed = takes_gzip(headers).then(|| self.packed.get_or_init(|| pack(&self.plain)).as_ref()).flatten();
        let body = packed.unwrap_or(&self.plain).clone();
        let suffix = if packed.is_some() { "-gz" } else { "" };
        let etag = HeaderValue::try_from(format!("\"{}{suffix}\"", self.digest)).expect("a digest is a header value");
        let mut response = Response::new(Body::from(body));
        let there = response.headers_mut();
        for (name, value) in [(CONTENT_TYPE, self.kind.clone()), (CACHE_CONTROL, keep), (ETAG, etag)] {
            there.insert(name, value);
        }
        for (name, value) in [
            (VARY, "accept-encoding"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            there.insert(name, HeaderValue::from_static(value));
        }
        if packed.is_some() {
            there.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// All files, ready to be sent, and their version.
struct Web {
    version: String,
    assets: Vec<Asset>,
}

static WEB: LazyLock<Web> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for (path, bytes) in FILES {
        hasher.update(path.as_bytes()).update(&[0]).update(bytes);
    }
    let version = hasher.finalize().to_hex()[..VERSION_DIGITS].to_owned();
    let pages = [Page::Shop, Page::Desk];
    let assets = FILES.iter().map(|&(path, bytes)| {
        let page = pages.into_iter().find(|page| page.file().0 == path);
        let bytes = page.map_or_else(|| Bytes::from_static(bytes), |page| page_of(page, bytes, &version));
        Asset::new(path, bytes)
    });
    Web { assets: assets.collect(), version }
});

/// A page.
///
/// # Errors
/// `internal` when it is missing.
pub fn page(page: Page, headers: &HeaderMap) -> Result<Response> {
    let (path, _) = page.file();
    let asset = WEB.assets.iter().find(|asset| asset.path == path);
    asset.map(|asset| asset.answer(headers, ASK_AGAIN)).ok_or_else(|| Error::internal(format!("{path} is missing")))
}

/// A file under the version of the page that names it. A page of another version, from before this server was replaced, gets
/// the present file, which its browser then does not keep.
///
/// # Errors
/// `route_not_found`.
pub fn file((version, path): (String, String), headers: &HeaderMap) -> Result<Response> {
    let asset = WEB.assets.iter().find(|asset| asset.path == path && !path.ends_with(".html"));
    let asset = asset.ok_or_else(|| Error::not_found("route_not_found", "such file"))?;
    Ok(asset.answer(headers, if version == WEB.version { FOR_GOOD } else { ASK_AGAIN }))
}

/// A page with the version, and with links that have the browser fetch all its modules at once.
fn page_of(page: Page, html: &[u8], version: &str) -> Bytes {
    let (_, folder) = page.file();
    let is_needed = |path: &str| path.ends_with(".js") && (path.starts_with("lib/") || path.starts_with(folder));
    let link = |path: &str| format!("<link rel=\"modulepreload\" href=\"web/{VERSION}/{path}\">");
    let links: Vec<String> = FILES.iter().filter(|(path, _)| is_needed(path)).map(|(path, _)| link(path)).collect();
    let html = String::from_utf8_lossy(html).replace("<!-- MODULES -->", &links.join("\n  "));
    Bytes::from(html.replace(VERSION, version))
}

fn digest_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..VERSION_DIGITS].to_owned()
}

/// The bytes compressed, when that makes them smaller.
fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().filter(|packed| packed.len() < bytes.len()).map(Bytes::from)
}

fn kind_of(path: &str) -> HeaderValue {
    HeaderValue::from_static(match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    })
}

/// Whether a client takes gzip: names it, or anything, and not with a quality of 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        is_gzip && !parts.any(|quality| matches!(quality, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let (mut folders, mut there) = (vec![root.clone()], BTreeSet::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    there.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        assert_eq!(FILES.iter().map(|(path, _)| (*path).to_owned()).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn nothing_is_inline_and_no_data_is_parsed_as_html() {
        for (path, bytes) in FILES {
            let text = std::str::from_utf8(bytes).unwrap();
            if path.ends_with(".js") {
                for danger in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"] {
                    assert!(!text.contains(danger), "{path} uses {danger}");
                }
            }
            if path.ends_with(".html") {
                for inline in ["<style", " style=", " onclick=", "javascript:", "<script>"] {
                    assert!(!text.contains(inline), "{path} has {inline}");
                }
            }
            for rest in text.split("://").skip(1) {
                let host = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().unwrap_or_default();
                assert!(
                    host.is_empty() || host == "www.w3.org",
                    "{path} names {host}, and a namespace is the only URL it may"
                );
            }
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (accepted, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("br, gzip; q=0.0", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
