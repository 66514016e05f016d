//! What must hold of a verdict, whatever the world: judged by the truth, not by what could be read of it.

use super::ecs::{Moment, Truth};
use super::reads::at;
use super::setting::{CallKind, Fate, FaultKind, Kind, Setting};
use fargate_deploy_core::rollout::Verdict;

/// A call's way, and the loop's own steps.
const SLACK: f64 = 1.0;

/// How one watch ended.
pub struct Ended {
    pub verdict: Verdict,
    pub at: f64,
    pub calls: usize,
    /// When it was asked whether the previous revision may be put back, and whether it may.
    pub looks: Vec<(f64, bool)>,
}

/// Why this ending is wrong; `None`: it is right.
pub fn wrong(setting: &Setting, moments: &[Moment], ended: &Ended) -> Option<&'static str> {
    let at_end = at(moments, ended.at).truth;
    // What every read has shown since.
    let seen = at(moments, ended.at - setting.lags[0].most - SLACK).truth;
    let shown = |holds: &dyn Fn(&Truth) -> bool| {
        let from = ended.at - setting.lags[0].most - SLACK;
        holds(&seen) || moments.iter().any(|m| (from..=ended.at).contains(&m.from) && holds(&m.truth))
    };
    let loops = matches!(setting.fate, Fate::CompletesAndDies { times, .. } if times > 1);
    let serves = at_end.ours_serves && seen.ours_serves && !loops;
    // ECS may have gone back from the newer one to ours.
    let owns = seen.is_superseded && !seen.is_ours || serves;
    let wrong = match &ended.verdict {
        Verdict::Stable(_) if !shown(&|t| t.ours_serves) => Some("success, and ours never served"),
        // A read of the stopped tasks shows them as late as that read may be.
        Verdict::Stable(_) if loops && deaths_after_completion(moments, ended.at - tasks_lag(setting) - SLACK) > 1 => {
            Some("success, and its tasks end one after the other")
        }
        Verdict::Stable(_) => None,
        Verdict::RolledBack { .. } if owns => Some("rolled back, and ours serves or a newer one owns the service"),
        Verdict::RolledBack { .. } if !at_end.is_back => Some("rolled back, and nothing has come back"),
        Verdict::RolledBack { .. } => None,
        Verdict::Failed { .. } if owns => Some("failed, and ours serves or a newer one owns the service"),
        Verdict::Failed { .. } if at_end.ours_failed || at_end.deaths >= 2 => None,
        Verdict::Failed { .. } => Some("failed, and it has not"),
        Verdict::Unsteady { .. } if owns => Some("a person is needed, and ours serves or a newer one owns the service"),
        Verdict::Unsteady { .. } if at_end.rollback_failed => None,
        Verdict::Unsteady { .. } if (at_end.is_rolling_back || at_end.ours_failed) && ended.at > 300.0 => None,
        Verdict::Unsteady { .. } => Some("a person is needed, and the rollback has not failed"),
        Verdict::Superseded { .. } if at_end.is_superseded => None,
        Verdict::Superseded { .. } => Some("superseded, and nobody else has deployed"),
        Verdict::TimedOut { .. } if ended.at + SLACK < setting.wait as f64 => Some("timed out before its time"),
        Verdict::TimedOut { .. } => None,
        Verdict::Lost { .. } if is_blind(setting, ended.at) => None,
        Verdict::Lost { .. } => Some("lost, and the service could be read"),
        Verdict::Gone { .. } if at_end.is_deleted => None,
        Verdict::Gone { .. } => Some("gone, and the service is there"),
    };
    wrong
        .or_else(|| late(setting, moments, ended))
        .or_else(|| expensive(ended))
        .or_else(|| ended.looks.iter().find_map(|look| wrong_look(setting, moments, ended, *look)))
}

fn tasks_lag(setting: &Setting) -> f64 {
    match setting.faults.iter().any(|f| f.call == CallKind::Tasks) {
        true => f64::MAX,
        false => setting.lags[CallKind::Tasks as usize].most,
    }
}

fn deaths_after_completion(moments: &[Moment], by: f64) -> u32 {
    let before = moments.iter().find(|m| m.truth.ours_completed).map_or(0, |m| m.truth.deaths);
    at(moments, by).truth.deaths.saturating_sub(before)
}

/// Between two tries of a service that cannot be read.
const BLINDLY: f64 = 5.0;

/// DescribeServices failed for most of five minutes before. Faults that follow each other so closely that no try need fall
/// between them are one.
fn is_blind(setting: &Setting, end: f64) -> bool {
    let mut faults: Vec<_> = setting.faults.iter().filter(|f| f.call == CallKind::Services).collect();
    faults.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut joined: Vec<(f64, f64, f64)> = vec![];
    for fault in faults {
        let next_try = fault.to + fault.kind.takes() + BLINDLY;
        match joined.last_mut() {
            Some((_, to, tries)) if fault.from <= *tries => (*to, *tries) = (to.max(fault.to), tries.max(next_try)),
            _ => joined.push((fault.from, fault.to, next_try)),
        }
    }
    joined.iter().any(|(from, to, _)| *from <= end - 250.0 && *to >= end - 30.0)
}

/// An end comes within bounds: always at the end of the wait, and soon after the truth is settled where it can be read.
fn late(setting: &Setting, moments: &[Moment], ended: &Ended) -> Option<&'static str> {
    if ended.at > setting.wait as f64 + 15.0 * 60.0 + 60.0 {
        return Some("no end within bounds");
    }
    let has_faults = setting.faults.iter().any(|f| f.kind != FaultKind::Denied);
    // Who may not read the ServiceDeployments API cannot know when a native deployment ends.
    let is_opaque = setting.strategy != Kind::Rolling && setting.is_denied(CallKind::List);
    if has_faults || is_opaque {
        return None;
    }
    let lag = setting.lags.iter().map(|l| l.most).fold(0.0, f64::max);
    let is_settled = |t: &Truth| t.ours_serves || t.is_back || t.is_superseded || t.rollback_failed || t.is_deleted;
    let first = moments.iter().find(|m| is_settled(&m.truth))?.from;
    let quiet = moments.iter().rev().find(|m| m.from <= ended.at).map_or(first, |m| m.from).max(first);
    let patience = 2.0 * lag + 95.0;
    (ended.at > quiet + patience).then_some("late")
}

/// At most a call every second and a half, beside some to begin and to end with.
fn expensive(ended: &Ended) -> Option<&'static str> {
    (ended.calls as f64 > 40.0 + ended.at / 1.5).then_some("too many calls")
}

/// A change of the service is allowed only over what is still ours, as far as a read can show; and after a failure it is.
fn wrong_look(setting: &Setting, moments: &[Moment], ended: &Ended, look: (f64, bool)) -> Option<&'static str> {
    let (now, is_allowed) = look;
    let seen = at(moments, now - setting.lags[0].most - SLACK).truth;
    let truth = at(moments, now).truth;
    // Ours is primary again where ECS went back from the newer one to it.
    let from = now - setting.lags[0].most - SLACK;
    let is_ours_again = seen.is_ours || moments.iter().any(|m| (from..=now).contains(&m.from) && m.truth.is_ours);
    if is_allowed && seen.is_superseded && !is_ours_again {
        return Some("a newer deployment may be overwritten");
    }
    let is_ours = !(truth.is_superseded || truth.is_rolling_back || truth.is_deleted);
    let is_refused = !is_allowed && matches!(ended.verdict, Verdict::Failed { .. });
    let can_be_read = setting.faults.iter().all(|f| f.call != CallKind::Services);
    // Ours has been primary for longer than any read lags.
    let is_visible = now > setting.lags[0].most + SLACK;
    (is_refused && is_ours && can_be_read && is_visible).then_some("a failed deployment may not be put back")
}
