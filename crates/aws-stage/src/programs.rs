//! Programs of a few instructions, for containers that need no image of anybody's: there is no registry that all have.

/// Where the loader puts the file.
const BASE: u64 = 0x40_0000;
/// The ELF header and one program header.
const HEADERS: u64 = 64 + 56;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A processor that Fargate has.
#[derive(Clone, Copy)]
enum Machine {
    Amd64,
    Arm64,
}

impl Machine {
    /// `amd64`, `x86_64`, `linux/arm64`.
    fn of(name: &str) -> Option<Self> {
        match name.rsplit('/').next()? {
            "amd64" | "x86_64" => Some(Self::Amd64),
            "arm64" | "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

/// An ELF file that waits without end.
pub(crate) fn pause(architecture: &str) -> Option<Vec<u8>> {
    let machine = Machine::of(architecture)?;
    Some(elf(machine, &pause_code(machine)))
}

/// An ELF file that answers every HTTP request on a port with 200, one after the other. `None`: for a processor that is not
/// played.
#[must_use]
pub fn neutral_server(platform: &str, port: Option<u16>) -> Option<Vec<u8>> {
    let machine = Machine::of(platform)?;
    let Some(port) = port else { return pause(platform) };
    let mut code = server_code(machine);
    // What bind() reads: a sockaddr_in for every address.
    let [high, low] = port.to_be_bytes();
    code.extend([2, 0, high, low]);
    code.extend([0; 12]);
    code.extend(ANSWER);
    Some(elf(machine, &code))
}

fn pause_code(machine: Machine) -> Vec<u8> {
    match machine {
        // pause(), again and again.
        Machine::Amd64 => vec![0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7],
        // ppoll(NULL, 0, NULL, NULL), again and again.
        Machine::Arm64 => {
            words(&[0xd280_0000, 0xd280_0001, 0xd280_0002, 0xd280_0003, 0xd280_0928, 0xd400_0001, 0x17ff_fffa])
        }
    }
}

/// socket(), bind(), listen(); then again and again accept(), read(), sendto() without SIGPIPE, close(). The address and the
/// answer follow it.
#[rustfmt::skip]
fn server_code(machine: Machine) -> Vec<u8> {
    match machine {
        Machine::Amd64 => vec![
            0xb8, 41, 0, 0, 0, 0xbf, 2, 0, 0, 0, 0xbe, 1, 0, 0, 0, 0x31, 0xd2, 0x0f, 0x05, 0x89, 0xc3,
            0xb8, 49, 0, 0, 0, 0x89, 0xdf, 0x48, 0x8d, 0x35, 0x63, 0, 0, 0, 0xba, 16, 0, 0, 0, 0x0f, 0x05,
            0xb8, 50, 0, 0, 0, 0x89, 0xdf, 0xbe, 0x80, 0, 0, 0, 0x0f, 0x05,
            0xb8, 43, 0, 0, 0, 0x89, 0xdf, 0x31, 0xf6, 0x31, 0xd2, 0x0f, 0x05, 0x89, 0xc5,
            0x31, 0xc0, 0x89, 0xef, 0x48, 0x8d, 0xb4, 0x24, 0x00, 0xf0, 0xff, 0xff, 0xba, 0x00, 0x08, 0, 0, 0x0f, 0x05,
            0xb8, 44, 0, 0, 0, 0x89, 0xef, 0x48, 0x8d, 0x35, 0x2e, 0, 0, 0, 0xba, 57, 0, 0, 0,
            0x41, 0xba, 0x00, 0x40, 0, 0, 0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9, 0x0f, 0x05,
            0xb8, 3, 0, 0, 0, 0x89, 0xef, 0x0f, 0x05,
            0xeb, 0xb2,
        ],
        Machine::Arm64 => words(&[
            0xd280_0040, 0xd280_0021, 0xd280_0002, 0xd280_18c8, 0xd400_0001, 0xaa00_03f3,
            0x1000_03c1, 0xd280_0202, 0xd280_1908, 0xd400_0001,
            0xaa13_03e0, 0xd280_1001, 0xd280_1928, 0xd400_0001,
            0xaa13_03e0, 0xd280_0001, 0xd280_0002, 0xd280_1948, 0xd400_0001, 0xaa00_03f4,
            0xd140_07e1, 0xd281_0002, 0xd280_07e8, 0xd400_0001,
            0xaa14_03e0, 0x1000_01e1, 0xd280_0722, 0xd288_0003, 0xd280_0004, 0xd280_0005, 0xd280_19c8, 0xd400_0001,
            0xaa14_03e0, 0xd280_0728, 0xd400_0001,
            0x17ff_ffeb,
        ]),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// One segment, readable and executable: the whole file.
fn elf(machine: Machine, code: &[u8]) -> Vec<u8> {
    let number: u16 = match machine {
        Machine::Amd64 => 62,
        Machine::Arm64 => 183,
    };
    let size = HEADERS + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2, number] {
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
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for long in [0, BASE, BASE, size, size, 0x1_0000] {
        file.extend(long.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_an_elf_file_whose_entry_is_its_code() {
        for (architecture, code) in [("amd64", 9), ("arm64", 28)] {
            let file = pause(architecture).unwrap();
            assert_eq!(file.len(), 64 + 56 + code);
            assert_eq!(file[..4], *b"\x7fELF");
            assert_eq!(u64::from_le_bytes(file[24..32].try_into().unwrap()), 0x40_0000 + 64 + 56);
            assert_eq!(u64::from_le_bytes(file[64 + 32..64 + 40].try_into().unwrap()), file.len() as u64);
        }
        assert!(pause("riscv64").is_none() && neutral_server("linux/riscv64", Some(80)).is_none());
    }

    #[test]
    fn the_server_finds_its_address_and_its_answer_behind_its_code() {
        for (platform, code) in [("linux/amd64", 134), ("linux/arm64", 144)] {
            let file = neutral_server(platform, Some(3000)).unwrap();
            let data = &file[64 + 56 + code..];
            assert_eq!(data[..4], [2, 0, 0x0b, 0xb8], "{platform}");
            assert_eq!(&data[16..], ANSWER, "{platform}");
            assert_eq!(ANSWER.len(), 57, "the length is in the code");
        }
    }
}
