//! The async HTTP client of the generator and of the story; the gateway's own, blocking one is in `server::client`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// How long the story waits for a control or statistics route. These never touch a downstream.
const CONTROL: Duration = Duration::from_secs(5);

pub(crate) fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .build(connector)
}

pub(crate) fn uri(at: SocketAddr, path: &str) -> Uri {
    format!("http://{at}{path}").parse().expect("an address and a path make a URI")
}

pub(crate) async fn get<T: DeserializeOwned>(client: &HttpClient, at: SocketAddr, path: &str) -> io::Result<T> {
    exchange(client, Method::GET, uri(at, path), Bytes::new()).await
}

pub(crate) async fn put<B: Serialize, T: DeserializeOwned>(
    client: &HttpClient,
    at: SocketAddr,
    path: &str,
    body: &B,
) -> io::Result<T> {
    let body = serde_json::to_vec(body).map_err(io::Error::other)?;
    exchange(client, Method::PUT, uri(at, path), body.into()).await
}

async fn exchange<T: DeserializeOwned>(client: &HttpClient, method: Method, uri: Uri, body: Bytes) -> io::Result<T> {
    let failed = |what: &dyn std::fmt::Display| io::Error::other(format!("{uri}: {what}"));
    let request = Request::builder()
        .method(method)
        .uri(uri.clone())
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(|e| failed(&e))?;
    let work = async {
        let response = client.request(request).await.map_err(|e| failed(&e))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        if !status.is_success() {
            return Err(failed(&format!("{status}: {}", String::from_utf8_lossy(&body).trim())));
        }
        serde_json::from_slice(&body).map_err(|e| failed(&e))
    };
    tokio::time::timeout(CONTROL, work).await.unwrap_or_else(|_| Err(failed(&"no answer in 5 s")))
}
