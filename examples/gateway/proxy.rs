//! The fault proxy: TCP between the gateway and one downstream, passing bytes on, late or not at all.
//!
//! Each connection looks at the current fault as bytes pass, so that a fault also strikes the connections that a client
//! keeps open. A piece that was held back stays held back when the fault heals: a slow call that has begun is slow.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::fault::Fault;

/// Pieces of an answer that one connection may hold back; a client that sends more waits.
const HELD_BACK: usize = 64;
const PIECE: usize = 16 * 1024;
const BACKLOG: u32 = 4_096;

/// A listener that the system gave a port of its own.
pub(crate) fn listen() -> io::Result<TcpListener> {
    bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)
}

/// A bound socket does not accept before it listens: that is how a port is kept while it is down.
fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Passes connections of `listener` on to `upstream` for ever, as `fault` commands.
pub(crate) async fn run(
    mut listener: TcpListener,
    upstream: SocketAddr,
    mut fault: watch::Receiver<Fault>,
) -> io::Result<()> {
    let addr = listener.local_addr()?;
    loop {
        accept_until_down(&listener, upstream, &fault).await;
        drop(listener);
        let kept = bind(addr)?;
        if fault.wait_for(|f| *f != Fault::Down).await.is_err() {
            // Nobody is left who could heal it.
            return Ok(());
        }
        listener = kept.listen(BACKLOG)?;
    }
}

async fn accept_until_down(listener: &TcpListener, upstream: SocketAddr, fault: &watch::Receiver<Fault>) {
    let mut down = fault.clone();
    let down = down.wait_for(|f| *f == Fault::Down);
    tokio::pin!(down);
    let mut seed = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that is gone before it was accepted is no reason to stop.
                if let Ok((client, _)) = accepted {
                    seed += 1;
                    tokio::spawn(pass(client, upstream, fault.clone(), seed));
                }
            }
            _ = &mut down => return,
        }
    }
}

async fn pass(client: TcpStream, upstream: SocketAddr, mut fault: watch::Receiver<Fault>, seed: u64) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    // Small writes must not wait for each other; a socket that is gone already needs no option.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (queue, held) = mpsc::channel(HELD_BACK);
    let watched = fault.clone();
    tokio::select! {
        _ = async { tokio::join!(
            forward(from_client, to_server),
            take(from_server, queue, watched, seed),
            give(to_client, held),
        ) } => {}
        // Dropping all four halves cuts the connection.
        _ = fault.wait_for(|f| *f == Fault::Down) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Either side may leave in the middle; what is left to do is the same.
    let _ = copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Reads an answer and says when each piece is due. Reading goes on meanwhile: pieces are late, not slow.
async fn take(
    mut from: OwnedReadHalf,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    fault: watch::Receiver<Fault>,
    seed: u64,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut piece = vec![0; PIECE];
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        let delay = fault.borrow().delay(&mut rng);
        if queue.send((Instant::now() + delay, piece[..len].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn give(mut to: OwnedWriteHalf, mut held: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, piece)) = held.recv().await {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
