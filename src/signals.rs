//! How a run is told to end.

use std::time::Duration;
use tokio::sync::watch::Receiver;

/// How many signals to end have come. One to the whole process group that a parent passes on as well comes twice in a
/// moment, and is one.
pub(crate) fn signals() -> Receiver<usize> {
    let (count, seen) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        loop {
            interrupted().await;
            count.send_modify(|count| *count += 1);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    seen
}

/// Resolves at the second of them.
pub(crate) async fn interrupted_twice() {
    signalled(&mut signals(), 2).await;
}

/// Returns at the `count`th signal.
pub(crate) async fn signalled(signals: &mut Receiver<usize>, count: usize) {
    if signals.wait_for(|seen| *seen >= count).await.is_err() {
        // Nobody can send one any more.
        std::future::pending::<()>().await;
    }
}

/// Whether whoever started this process said so. Only Linux tells.
fn ignores_hang_up() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|signals| signals & 1 == 1)
}

/// Resolves at SIGINT or SIGTERM, or when the terminal is closed. GitHub sends the first, 7.5 s later the second, and kills
/// 2.5 s after that. A run that is told to outlive its terminal (`nohup`) does.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let hung_up = async {
        // Listening to it would undo `nohup`.
        if !ignores_hang_up()
            && let Ok(mut hang_up) = signal(SignalKind::hangup())
            && hang_up.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = told_to_end() => {}
        () = hung_up => {}
    }
}

/// Resolves at SIGINT or SIGTERM alone.
pub(crate) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
