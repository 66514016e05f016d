//! CPU and memory: of the task, and of its containers in it.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html>

use super::{Findings, items};
use crate::task_definition::TaskDefinition;
use crate::task_definition::compare::units;
use crate::task_definition::shape::integer;
use serde_json::Value;

/// The smallest of Windows is one vCPU.
const WINDOWS: u64 = 1024;

pub(super) fn check(definition: &TaskDefinition, found: &mut Findings) {
    let size = |member: &str, found: &mut Findings| match definition.body.get(member) {
        None | Some(Value::Null) => {
            found.problem(format!("`{member}` is missing: Fargate needs it on the task"));
            None
        }
        Some(value) => units(value).or_else(|| {
            if value.is_string() {
                found.problem(format!("`{member}` is {value}: not a size that AWS reads"));
            }
            None
        }),
    };
    let cpu = size("cpu", found);
    let memory = size("memory", found);
    if let (Some(cpu), Some(memory)) = (cpu, memory) {
        pair(cpu, memory, found);
    }
    let family = definition.body.get("runtimePlatform").and_then(|p| p.get("operatingSystemFamily"));
    if family.and_then(Value::as_str).is_some_and(|f| f.starts_with("WINDOWS")) && cpu.is_some_and(|c| c < WINDOWS) {
        found.problem(format!("`cpu` is {}: Windows on Fargate has {WINDOWS} and more", cpu.unwrap_or_default()));
    }
    within_the_task(definition, cpu, memory, found);
}

/// A size that AWS does not have between those that it has is refused. One beyond them may be newer than this program.
fn pair(cpu: u64, memory: u64, found: &mut Findings) {
    match fargate_memory(cpu) {
        None if cpu > 16384 && cpu.is_multiple_of(1024) => found
            .warning(format!("`cpu` is {cpu}: a size of Fargate that is not known here; AWS says whether it has it")),
        None => found.problem(format!("`cpu` is {cpu}: Fargate has 256, 512, 1024, 2048, 4096, 8192, 16384 and 32768")),
        Some(memories) if memories.contains(&memory) => {}
        Some(memories) if cpu >= 32768 || memories.last().is_some_and(|last| cpu == 16384 && memory > *last) => {
            found.warning(format!(
                "`memory` is {memory}: with `cpu` {cpu} only {} are known here; AWS says whether it has it",
                spoken(&memories)
            ));
        }
        Some(memories) => {
            found.problem(format!("`memory` is {memory}: with `cpu` {cpu} Fargate has {}", spoken(&memories)));
        }
    }
}

fn within_the_task(definition: &TaskDefinition, cpu: Option<u64>, memory: Option<u64>, found: &mut Findings) {
    let mut sums = [0i64; 2];
    for (path, container) in items(&definition.body, "containerDefinitions", "") {
        let number = |member: &str| container.get(member).and_then(integer);
        for member in ["cpu", "memory", "memoryReservation"] {
            if number(member).is_some_and(|number| number < 0) {
                found.problem(format!("`{path}.{member}` is below 0"));
            }
        }
        let (hard, soft) = (number("memory"), number("memoryReservation"));
        if let (Some(hard), Some(soft)) = (hard, soft)
            && soft > hard
        {
            found.problem(format!("`{path}.memoryReservation` is {soft}, more than its `memory` of {hard}"));
        }
        if let Some(small) = hard.or(soft).filter(|size| (0..6).contains(size)) {
            found.warning(format!("`{path}`: {small} MiB of memory: Docker needs 6"));
        }
        sums[0] += number("cpu").unwrap_or(0).max(0);
        sums[1] += hard.or(soft).unwrap_or(0).max(0);
    }
    for (member, sum, whole, unit) in [("cpu", sums[0], cpu, "units"), ("memory", sums[1], memory, "MiB")] {
        if let Some(whole) = whole
            && sum > i64::try_from(whole).unwrap_or(i64::MAX)
        {
            found.problem(format!("the containers' `{member}` adds up to {sum} {unit}, more than the task's {whole}"));
        }
    }
}

/// The memory sizes in MiB that Fargate offers for a number of CPU units.
pub(crate) fn fargate_memory(cpu: u64) -> Option<Vec<u64>> {
    let range = |from: u64, to: u64, by: u64| (from..=to).step_by((by * 1024) as usize).collect();
    Some(match cpu {
        256 => vec![512, 1024, 2048],
        512 => range(1024, 4096, 1),
        1024 => range(2048, 8192, 1),
        2048 => range(4096, 16384, 1),
        4096 => range(8192, 30720, 1),
        8192 => range(16384, 61440, 4),
        16384 => range(32768, 122_880, 8),
        32768 => vec![61440, 122_880, 249_856],
        _ => return None,
    })
}

fn spoken(memories: &[u64]) -> String {
    match memories {
        [first, second, .., last] if memories.len() > 4 => format!("{first} to {last} in steps of {}", second - first),
        _ => memories.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    }
}
