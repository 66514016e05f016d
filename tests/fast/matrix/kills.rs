//! The kill matrix: at every call of a deploy the run is killed, suspended, suspended until another run has taken its lease
//! over, or interrupted with and without a network. The world comes to what it is after an undisturbed run.

use super::cells::{Play, play, write_table};
use super::faults::{Command, Disturbance, Fault, Place};
use super::server::Moment;
use super::shop::{Ended, FIRST, NEWER, SECOND, Shop, World};
use super::{in_a_world, sample};
use std::fmt;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// What is done to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// SIGKILL.
    Killed,
    /// SIGSTOP, and SIGCONT after 100 s: others may take the lease over, and nobody does.
    Suspended,
    /// SIGSTOP, and SIGCONT when the run of a newer commit has taken the lease over and has ended.
    TakenOver,
    /// SIGINT.
    Interrupted,
    /// SIGINT while the network is gone.
    InterruptedOffline,
}

impl Blow {
    fn words(self) -> &'static str {
        match self {
            Self::Killed => "killed before and after its effect, and started again",
            Self::Suspended => "suspended for 100 s",
            Self::TakenOver => "suspended until the next commit's run has taken over and ended",
            Self::Interrupted => "interrupted, and started again",
            Self::InterruptedOffline => "interrupted while the network is gone, and started again",
        }
    }
}

#[derive(Clone, Debug)]
struct Event {
    /// Of one service, or of three.
    command: Command,
    place: Place,
    moment: Moment,
    blow: Blow,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} {:?} {}", self.command.words(), self.blow, self.moment, self.place.call)
    }
}

/// A process that is stopped has sent what it has sent: between two calls it can be stopped once, and killed before and after
/// each has its effect.
fn events() -> Vec<Event> {
    let mut events = vec![];
    for command in COMMANDS {
        let mut holds_a_lease = false;
        for place in in_a_world(command.recorded()) {
            holds_a_lease |= place.call.operation == "ssm:PutParameter";
            let mut at = |moment, blow| events.push(Event { command, place: place.clone(), moment, blow });
            at(Moment::Before, Blow::Killed);
            at(Moment::After, Blow::Killed);
            at(Moment::After, Blow::Suspended);
            at(Moment::After, Blow::Interrupted);
            at(Moment::After, Blow::InterruptedOffline);
            if holds_a_lease {
                at(Moment::After, Blow::TakenOver);
            }
        }
    }
    events
}

const COMMANDS: [Command; 2] = [Command::Deploy, Command::Release];

/// GitHub kills ten seconds after the first signal; half of that is ours.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A holder that is silent for longer than 90 s can be succeeded.
const LONG: Duration = Duration::from_secs(100);

async fn play_one(event: &Event) -> Play {
    let shop = event.command.prepare().await;
    let reached = shop.server.point_at(event.place.call.clone(), event.moment);
    let wrong = match event.blow {
        Blow::Killed => {
            tokio::select! {
                biased;
                () = reached.opened() => {}
                ended = shop.deploy(FIRST) => return Play { wrong: Some("it was not killed".to_owned()), said: ended.said },
            }
            again(&shop).await
        }
        Blow::Suspended => {
            let mut process = pin!(shop.deploy(FIRST));
            tokio::select! { biased; () = reached.opened() => {}, _ = &mut process => {} }
            sleep(LONG).await;
            let ended = process.await;
            wrong_end(&ended, &shop.world(), &shop.deployed())
        }
        Blow::TakenOver => taken_over(&shop, reached.opened()).await,
        Blow::Interrupted | Blow::InterruptedOffline => {
            if event.blow == Blow::InterruptedOffline {
                let cut = Disturbance::new(Fault::Cut, event.place.call.clone());
                shop.server.played.disturbance.replace(Some(cut));
            }
            interrupted(&shop, reached.opened()).await
        }
    };
    let (wrong, said) = wrong.map_or((None, String::new()), |(wrong, said)| (Some(wrong), said));
    Play { wrong, said }
}

/// What is wrong, and what was said.
type Wrong = Option<(String, String)>;

fn wrong_end(ended: &Ended, world: &World, right: &World) -> Wrong {
    let is_right = ended.code == 0 && world == right;
    (!is_right).then(|| (format!("exit {}, {world:?}", ended.code), ended.said.clone()))
}

/// The same command once more.
async fn again(shop: &Shop) -> Wrong {
    let ended = shop.deploy(SECOND).await;
    wrong_end(&ended, &shop.world(), &shop.deployed())
}

async fn interrupted(shop: &Shop, signal: impl Future<Output = ()>) -> Wrong {
    let came = std::cell::Cell::new(None);
    let interrupt = async {
        signal.await;
        came.set(Some(Instant::now()));
    };
    let ended = shop.deploy_until(FIRST, interrupt).await;
    let took = came.get().map_or(Duration::ZERO, |came| came.elapsed());
    shop.server.played.disturbance.take();
    if took > LAST_WORDS {
        return Some((format!("{took:?} after the signal"), ended.said));
    }
    match ended.code {
        // It had done its work; without a network the lease goes stale by itself.
        0 => {
            let world = shop.world();
            wrong_end(&ended, &world, &World { is_lease_released: world.is_lease_released, ..shop.deployed() })
        }
        130 => again(shop).await,
        code => Some((format!("exit {code} after SIGINT"), ended.said)),
    }
}

/// A run without its lease starts no migration, moves no service, and does not say that it has deployed.
async fn taken_over(shop: &Shop, stopped: impl Future<Output = ()>) -> Wrong {
    let mut process = pin!(shop.deploy(FIRST));
    tokio::select! { biased; () = stopped => {}, _ = &mut process => {} }
    let had_ended = shop.world() == shop.deployed();
    let newer = shop.deploy(NEWER).await;
    if newer.code != 0 {
        return Some((format!("the newer run: exit {}, {:?}", newer.code, shop.world()), newer.said));
    }
    let before = shop.world();
    let Ok(ended) = timeout(Duration::from_secs(3600), process).await else {
        return Some(("the older run does not end".to_owned(), newer.said));
    };
    let after = shop.world();
    let is_left_alone =
        (after.commands, after.deployments, &after.runs) == (before.commands, before.deployments, &before.runs);
    let is_honest = ended.code == 8 || had_ended && ended.code == 0;
    let is_right = is_left_alone && is_honest && shop.runs_each_command_once();
    (!is_right).then(|| (format!("exit {}, {before:?}, then {after:?}", ended.code), ended.said))
}

/// How many events of each kind came out right, of how many.
fn table(all: &[Event], wrong: &[&Event]) -> String {
    let mut table = format!("| at each call of | {} |\n|---|--:|--:|\n", COMMANDS.map(Command::words).join(" | "));
    let mut row = |name: &str, of: &dyn Fn(&Event) -> bool| {
        let counts = COMMANDS.map(|command| {
            let of = |event: &&Event| event.command == command && of(event);
            let (played, bad) = (all.iter().filter(of).count(), wrong.iter().filter(|event| of(event)).count());
            if bad == 0 { played.to_string() } else { format!("{} of {played}", played - bad) }
        });
        table += &format!("| {name} | {} |\n", counts.join(" | "));
    };
    for blow in [Blow::Killed, Blow::Suspended, Blow::TakenOver, Blow::Interrupted, Blow::InterruptedOffline] {
        row(blow.words(), &|event| event.blow == blow);
    }
    row("**right, of all events**", &|_| true);
    table
}

#[test]
fn a_run_that_is_killed_suspended_or_interrupted_anywhere_comes_to_the_same_world() {
    let all = events();
    let played = sample(&all, 60);
    let wrong = play("kills", &played, play_one);
    if played.len() == all.len() {
        let is_wrong: Vec<_> = wrong.iter().map(|(event, _)| *event).collect();
        write_table("kills", &table(&all, &is_wrong));
    }
    assert!(wrong.is_empty(), "{} events came out wrong", wrong.len());
}
