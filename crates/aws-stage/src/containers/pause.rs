//! The network that the containers of one task share.
//!
//! It belongs to a container of its own that does nothing, as in the ECS agent: the network of the task's first container would end
//! with it, while the others may start later or go on.

use super::{ContainerSpec, Containers};
use crate::request::random_hex;
use bollard::body_full;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::StreamExt as _;
use std::collections::HashMap;

const PROGRAM: &str = "pause";

impl Containers {
    /// Starts a container that owns a task's network, and publishes `ports` of it. Its id.
    pub(crate) async fn start_pause_container(
        &self,
        ports: Vec<u16>,
        labels: HashMap<String, String>,
    ) -> Result<String, String> {
        let image = self.pause_image.get_or_try_init(|| self.import_pause_image()).await?;
        let entrypoint = Some(vec![format!("/{PROGRAM}")]);
        self.start(&ContainerSpec { image: image.clone(), entrypoint, ports, labels, ..ContainerSpec::default() }).await
    }

    /// Removes the image that holds networks, once nothing of the stage runs any more.
    pub(crate) async fn remove_pause_image(&self) {
        if let Some(image) = self.pause_image.get() {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            let _ = self.engine.remove_image(image, Some(options), None).await;
        }
    }

    /// Makes the pause image without any registry: one program of a few instructions.
    async fn import_pause_image(&self) -> Result<String, String> {
        let engine = self.engine.version().await.map_err(|e| e.to_string())?.arch.unwrap_or_default();
        let program = program(&engine).ok_or_else(|| format!("the Engine's processor `{engine}` is not played"))?;
        let mut archive = tar::Builder::new(vec![]);
        let mut header = tar::Header::new_ustar();
        header.set_size(program.len() as u64);
        header.set_mode(0o555);
        let archive = archive
            .append_data(&mut header, PROGRAM, program.as_slice())
            .and_then(|()| archive.into_inner())
            .map_err(|e| e.to_string())?;
        let name = format!("fargate-deploy-stage/{}", random_hex(6));
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(&name).tag(PROGRAM).build();
        let mut progress = self.engine.create_image(Some(options), Some(body_full(archive.into())), None);
        while let Some(step) = progress.next().await {
            step.map_err(|e| e.to_string())?;
        }
        Ok(format!("{name}:{PROGRAM}"))
    }
}

/// An ELF file that waits without end, for the processors that Fargate has.
fn program(architecture: &str) -> Option<Vec<u8>> {
    let (machine, code): (u16, Vec<u8>) = match architecture {
        // pause(), again and again.
        "amd64" | "x86_64" => (62, vec![0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]),
        // ppoll(NULL, 0, NULL, NULL), again and again.
        "arm64" | "aarch64" => {
            let words: [u32; 7] =
                [0xd280_0000, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0xd280_0928, 0xd400_0001, 0x17ff_fffa];
            (183, words.into_iter().flat_map(u32::to_le_bytes).collect())
        }
        _ => return None,
    };
    const HEADERS: u64 = 64 + 56;
    const BASE: u64 = 0x40_0000;
    let size = HEADERS + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2, machine] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    for long in [BASE + HEADERS, 64, 0] {
        file.extend(long.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // One segment, readable and executable: the whole file.
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for long in [0, BASE, BASE, size, size, 0x1_0000] {
        file.extend(long.to_le_bytes());
    }
    file.extend(code);
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn the_pause_program_is_an_elf_file_whose_entry_is_its_code() {
        for (architecture, code) in [("amd64", 9), ("arm64", 28)] {
            let file = program(architecture).unwrap();
            assert_eq!(file.len(), 64 + 56 + code);
            assert_eq!(file[..4], *b"\x7fELF");
            assert_eq!(u64::from_le_bytes(file[24..32].try_into().unwrap()), 0x40_0000 + 64 + 56);
            assert_eq!(u64::from_le_bytes(file[64 + 32..64 + 40].try_into().unwrap()), file.len() as u64);
        }
        assert!(program("riscv64").is_none());
    }
}
