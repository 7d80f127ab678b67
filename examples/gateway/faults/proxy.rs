//! The fault proxy: TCP between a client and one downstream, passing bytes on, late, in part or not at all.
//!
//! Each connection looks at the current fault as bytes pass, so that a fault also strikes the connections that a client
//! keeps open. What was held back stays held back when the fault heals: a slow call that has begun is slow.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::shape::{Shape, Step};
use super::{Fault, Setting, lot};

/// Pieces of an answer that one connection may hold back; a downstream that sends more waits.
const HELD_BACK: usize = 64;
const PIECE: usize = 16 * 1024;
const BACKLOG: u32 = 4_096;

/// The connection is to be cut on both sides, now.
struct Cut;

/// Connections that were dropped under the setting of this number.
type Dropped = Arc<Mutex<(u64, u64)>>;

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

/// Passes connections of `listener` on to `upstream` until the setting's sender is gone, as the setting commands.
pub(crate) async fn run(
    mut listener: TcpListener,
    upstream: SocketAddr,
    mut setting: watch::Receiver<Setting>,
) -> io::Result<()> {
    let addr = listener.local_addr()?;
    let mut connections = Connections { upstream, setting: setting.clone(), dropped: Dropped::default(), count: 0 };
    loop {
        connections.accept_until_down(&listener).await;
        drop(listener);
        let kept = bind(addr)?;
        if setting.wait_for(|s| !s.is_down()).await.is_err() || setting.has_changed().is_err() {
            // Nobody is left who could change it.
            return Ok(());
        }
        listener = kept.listen(BACKLOG)?;
    }
}

struct Connections {
    upstream: SocketAddr,
    setting: watch::Receiver<Setting>,
    dropped: Dropped,
    count: u64,
}

impl Connections {
    async fn accept_until_down(&mut self, listener: &TcpListener) {
        let mut down = self.setting.clone();
        let down = down.wait_for(Setting::is_down);
        tokio::pin!(down);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    // A client that is gone before it was accepted is no reason to stop.
                    if let Ok((client, _)) = accepted {
                        self.count += 1;
                        let dropped = Arc::clone(&self.dropped);
                        tokio::spawn(pass(client, self.upstream, self.setting.clone(), dropped, self.count));
                    }
                }
                _ = &mut down => return,
            }
        }
    }
}

async fn pass(
    client: TcpStream,
    upstream: SocketAddr,
    mut setting: watch::Receiver<Setting>,
    dropped: Dropped,
    number: u64,
) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    // Small writes must not wait for each other; a socket that is gone already needs no option.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (queue, held) = mpsc::channel(HELD_BACK);
    let (here, gone) = watch::channel(false);
    let door = Door { setting: setting.clone(), dropped, lot: lot(number) };
    let shaping = setting.clone();
    // Dropping all four halves cuts the connection, whichever of these is the reason.
    tokio::select! {
        _ = async { tokio::try_join!(
            forward(from_client, to_server, door, here),
            take(from_server, queue, shaping, Shape::new(number)),
            give(to_client, held, gone),
        ) } => {}
        _ = setting.wait_for(Setting::is_down) => {}
    }
}

/// Where a request goes in, or does not.
struct Door {
    setting: watch::Receiver<Setting>,
    dropped: Dropped,
    lot: f64,
}

impl Door {
    fn drops(&self) -> bool {
        let setting = *self.setting.borrow();
        let Fault::DropFirst { connections } = setting.strikes(self.lot) else {
            return false;
        };
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if dropped.0 != setting.serial {
            *dropped = (setting.serial, 0);
        }
        let drops = dropped.1 < connections;
        dropped.1 += u64::from(drops);
        drops
    }
}

/// Passes requests on, and says when the client has no more of them.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    door: Door,
    here: watch::Sender<bool>,
) -> Result<(), Cut> {
    let mut piece = vec![0; PIECE];
    // Either side may leave in the middle; what is left to do is the same.
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        if door.drops() {
            return Err(Cut);
        }
        if to.write_all(&piece[..len]).await.is_err() {
            break;
        }
    }
    here.send_replace(true);
    let _ = to.shutdown().await;
    Ok(())
}

/// Reads answers and says what is to become of them. Reading goes on meanwhile: pieces are late, not slow.
async fn take(
    mut from: OwnedReadHalf,
    queue: mpsc::Sender<Step>,
    setting: watch::Receiver<Setting>,
    mut shape: Shape,
) -> Result<(), Cut> {
    let mut piece = vec![0; PIECE];
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        let now = *setting.borrow();
        for step in shape.piece(&now, &piece[..len], Instant::now()) {
            if queue.send(step).await.is_err() {
                return Ok(());
            }
        }
    }
    let now = *setting.borrow();
    // Nobody to tell is nobody to close to.
    let _ = queue.send(shape.end(&now, Instant::now())).await;
    Ok(())
}

async fn give(
    mut to: OwnedWriteHalf,
    mut held: mpsc::Receiver<Step>,
    mut gone: watch::Receiver<bool>,
) -> Result<(), Cut> {
    while let Some(step) = held.recv().await {
        match step {
            Step::Piece(due, piece) => {
                wait(due).await;
                if to.write_all(&piece).await.is_err() {
                    return Err(Cut);
                }
            }
            Step::Finish(due) => {
                wait(due).await;
                let _ = to.shutdown().await;
                return Ok(());
            }
            Step::Close(due) => {
                wait(due).await;
                return Err(Cut);
            }
            Step::Reset(due) => {
                wait(due).await;
                // What is closed with no time to linger is reset; but not what has said before that it has ended, which a
                // half that is dropped does.
                let _ = to.as_ref().set_zero_linger();
                to.forget();
                return Err(Cut);
            }
            Step::Silence => {
                let _ = gone.wait_for(|gone| *gone).await;
                return Err(Cut);
            }
        }
    }
    Ok(())
}

async fn wait(due: Instant) {
    if due > Instant::now() {
        sleep_until(due).await;
    }
}
