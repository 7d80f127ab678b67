//! Services that somebody runs already, as `serve --upstream payments=http://127.0.0.1:9001` names them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use hyper::Uri;

use crate::plan::Route;

/// One service, in the place of a downstream of the example's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) route: Route,
    /// What is asked with GET.
    pub(crate) url: String,
    /// Where it listens, looked up once.
    pub(crate) at: SocketAddr,
}

/// By [`Route::index`]; none where the example's own downstream is to be asked.
pub(crate) type Upstreams = [Option<Upstream>; Route::ALL.len()];

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("must be NAME=URL, as in payments=http://127.0.0.1:9001")?;
        let names = Route::ALL.map(Route::name).join(", ");
        let route = Route::named(name).ok_or_else(|| format!("no route {name:?}; there are {names}"))?;
        let uri: Uri = url.parse().map_err(|e| format!("{url:?} is not a URL: {e}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(other) => return Err(format!("{other} is not spoken here, only http")),
            None => return Err(format!("{url:?} must begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| format!("{url:?} names no host"))?;
        if authority.as_str().contains('@') {
            return Err("a name and a password in the URL would not be sent".into());
        }
        // `Uri` takes a port that is none for no port.
        let after_host = authority.as_str().strip_prefix(uri.host().unwrap_or_default()).unwrap_or_default();
        let port = match (after_host, uri.port_u16()) {
            ("", _) => 80,
            (_, Some(port)) if port > 0 => port,
            _ => return Err(format!("{after_host:?} is not a port")),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let found = (host, port).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?.next();
        let at = found.ok_or_else(|| format!("{host} has no address"))?;
        Ok(Self { route, url: uri.to_string(), at })
    }
}

/// Sorts them; two for one route are one too many.
pub(crate) fn by_route(upstreams: &[Upstream]) -> io::Result<Upstreams> {
    let mut sorted = Upstreams::default();
    for upstream in upstreams {
        let place = &mut sorted[upstream.route.index()];
        if let Some(first) = place {
            let twice = format!("{} has two upstreams, {} and {}", upstream.route.name(), first.url, upstream.url);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, twice));
        }
        *place = Some(upstream.clone());
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_url() {
        let read: Upstream = "orders=http://127.0.0.1:9001/v1/list?all=yes".parse().unwrap();
        assert_eq!((read.route, read.at), (Route::Orders, "127.0.0.1:9001".parse().unwrap()));
        assert_eq!(read.url, "http://127.0.0.1:9001/v1/list?all=yes");
        let read: Upstream = "payments=http://[::1]".parse().unwrap();
        assert_eq!(read.at, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn nonsense_is_an_error_that_says_what_is_wrong() {
        for (text, says) in [
            ("payments", "NAME=URL"),
            ("=http://127.0.0.1:1", "no route"),
            ("stock=http://127.0.0.1:1", "there are payments, orders"),
            ("payments=", "not a URL"),
            ("payments=127.0.0.1:9001", "http"),
            ("payments=/path", "must begin with http://"),
            ("payments=https://127.0.0.1:9001", "https is not spoken"),
            ("payments=http://127.0.0.1:99999", "not a port"),
            ("payments=http://127.0.0.1:0", "not a port"),
            ("payments=http://me:secret@127.0.0.1:9001", "password"),
        ] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
