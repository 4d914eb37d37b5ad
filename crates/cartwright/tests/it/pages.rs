//! The storefront and the desk as they are served. What they do in a browser is tested in `web-tests`.

use axum::body::Bytes;
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;

use crate::shop::TestShop;

/// Status, headers and bytes of an answer.
async fn fetch(shop: &TestShop, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response: Response = shop.door().answer(request.body(axum::body::Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

/// The files a page names.
fn files_of(page: &[u8]) -> Vec<String> {
    let page = std::str::from_utf8(page).unwrap();
    let paths = page.split('"').filter(|text| text.starts_with("web/"));
    paths.map(|path| format!("/{path}")).collect()
}

#[tokio::test]
async fn both_pages_name_files_that_are_there_and_may_be_kept_for_good() {
    let shop = TestShop::new().await;
    for path in ["/", "/desk", "/desk/"] {
        let (status, headers, page) = fetch(&shop, path, &[]).await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(headers["cache-control"], "no-cache", "{path}");
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        let files = files_of(&page);
        assert!(files.len() > 10, "{path} names {files:?}");
        for file in files {
            let (status, headers, bytes) = fetch(&shop, &file, &[]).await;
            assert_eq!(status, 200, "{file}");
            assert!(headers["cache-control"].to_str().unwrap().contains("immutable"), "{file}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert!(!bytes.is_empty());
        }
    }
}

#[tokio::test]
async fn a_page_may_run_nothing_but_its_own_files_and_be_framed_by_nobody() {
    let shop = TestShop::new().await;
    for path in ["/", "/desk"] {
        let (_, headers, page) = fetch(&shop, path, &[]).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert!(!std::str::from_utf8(&page).unwrap().contains("VERSION"));
    }
}

#[tokio::test]
async fn files_are_sent_packed_to_those_who_take_that_and_not_again_to_those_who_have_them() {
    let shop = TestShop::new().await;
    let (_, _, page) = fetch(&shop, "/", &[]).await;
    let file = files_of(&page).into_iter().find(|file| file.ends_with("base.css")).unwrap();
    let (_, plain, bytes) = fetch(&shop, &file, &[]).await;
    let (_, headers, packed) = fetch(&shop, &file, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(headers["vary"], "accept-encoding");
    assert!(packed.len() * 2 < bytes.len(), "{} of {}", packed.len(), bytes.len());
    assert_ne!(plain["etag"], headers["etag"]);
    for (path, seen) in [(file.as_str(), &plain["etag"]), ("/", &fetch(&shop, "/", &[]).await.1["etag"])] {
        let (status, _, body) = fetch(&shop, path, &[("if-none-match", seen.to_str().unwrap())]).await;
        assert_eq!((status.as_u16(), body.len()), (304, 0), "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_version_gets_files_that_it_does_not_keep_and_what_is_no_file_is_not_there() {
    let shop = TestShop::new().await;
    let (status, headers, _) = fetch(&shop, "/web/0123456789abcdef/base.css", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(headers["cache-control"], "no-cache");
    for path in ["/web/0123456789abcdef/shop.html", "/web/x/../Cargo.toml", "/web/x/none.js", "/web/x", "/web"] {
        assert_eq!(shop.get(path).await.code(), "route_not_found", "{path}");
    }
}
