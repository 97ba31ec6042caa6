//! systemd-timesyncd, by two properties on the system bus: the newest answer that it took (`NTPMessage`) and its server
//! (`ServerName`). The bus is spoken with directly: an authentication line, three method calls with fixed arguments, and their
//! answers, of which only the signatures that these properties have are read (D-Bus specification, "Message Protocol").

use super::{PATIENCE, Word, harmless, nonsense};
use chronotick_clock::Span;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

const SERVICE: &str = "org.freedesktop.timesync1";
const OBJECT: &str = "/org/freedesktop/timesync1";
const INTERFACE: &str = "org.freedesktop.timesync1.Manager";
/// The longest message that is read, in bytes.
const LONGEST: usize = 1 << 16;

/// What timesyncd says of itself on the bus at `place`.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if there is no bus, `NotConnected` if there is no timesyncd on it, `TimedOut` or
/// `WouldBlock` if nobody answers, `InvalidData` if something else answers.
pub fn ask(place: &Path) -> io::Result<Word> {
    let stream = UnixStream::connect(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    converse(stream)
}

/// The whole conversation with a bus, on a connection to it.
pub(crate) fn converse(stream: impl Read + Write) -> io::Result<Word> {
    let mut bus = Bus::greet(stream)?;
    let message = bus.property("NTPMessage")?;
    let server = bus.property("ServerName")?;
    let mut read = Reader::variant(&server, "s")?;
    word(&message, &harmless(&read.text()?))
}

/// The newest answer: leap, version, mode and stratum as `u`, precision `i`, root delay and dispersion in µs as `t`, the
/// reference as `ay`, four timestamps in µs as `t`, whether it was a spike `b`, how many came `t`, jitter in µs `t`.
fn word(message: &[u8], server: &str) -> io::Result<Word> {
    let mut read = Reader::variant(message, "(uuuuittayttttbtt)")?;
    read.align(8);
    let (leap, _version, _mode, stratum) = (read.u32()?, read.u32()?, read.u32()?, read.u32()?);
    let _precision = read.u32()?;
    let (root_delay, root_dispersion) = (read.u64()?, read.u64()?);
    let reference = read.u32()? as usize;
    read.skip(reference)?;
    let [origin, receive, transmit, destination] =
        [read.u64()?, read.u64()?, read.u64()?, read.u64()?].map(micros);
    let spike = read.u32()? != 0;
    let packets = read.u64()?;
    let synchronised = packets > 0 && leap < 3 && (1..16).contains(&stratum) && !spike;
    let offset = ((receive - origin) + (transmit - destination)).half();
    let distance = (destination - origin).half() + micros(root_delay).half() + micros(root_dispersion);
    Ok(Word {
        name: "timesyncd",
        synchronised,
        reason: match packets {
            0 => "it has had no answer yet".into(),
            _ if spike => "its newest answer was an outlier".into(),
            _ if !synchronised => "its server does not know the time".into(),
            _ => format!("it follows {server}; it may be wrong by half of the round trip"),
        },
        // It is what was found before the clock was slewed, so it says how well it does, not what is left.
        offset_ns: synchronised.then(|| offset.as_nanos()),
        error_ns: synchronised.then(|| distance.as_nanos()),
        stratum: u8::try_from(stratum).ok().filter(|s| *s > 0),
        reference: (!server.is_empty()).then(|| server.to_owned()),
    })
}

fn micros(micros: u64) -> Span {
    Span::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

struct Bus<S> {
    stream: BufReader<S>,
    serial: u32,
}

impl<S: Read + Write> Bus<S> {
    fn greet(mut stream: S) -> io::Result<Bus<S>> {
        // The bus knows by the socket who we are; the line has to say the same, in hexadecimal digits of decimal digits.
        let user = std::fs::metadata("/proc/self")?.uid().to_string();
        let hex: String = user.bytes().map(|b| format!("{b:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.by_ref().take(1024).read_line(&mut line)?;
        if !line.starts_with("OK ") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the system bus refuses us"));
        }
        stream.get_mut().write_all(b"BEGIN\r\n")?;
        let mut bus = Bus { stream, serial: 0 };
        bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", &[])?;
        Ok(bus)
    }

    /// The body of the answer: a variant.
    fn property(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.call(SERVICE, OBJECT, "org.freedesktop.DBus.Properties", "Get", &[INTERFACE, name])
    }

    fn call(
        &mut self,
        to: &str,
        object: &str,
        interface: &str,
        method: &str,
        arguments: &[&str],
    ) -> io::Result<Vec<u8>> {
        self.serial += 1;
        let message = call(self.serial, to, object, interface, method, arguments);
        self.stream.get_mut().write_all(&message)?;
        // Signals may come in between; a bus that sends nothing else is left alone.
        for _ in 0..64 {
            let (kind, answers, body) = self.receive()?;
            match kind {
                2 if answers == self.serial => return Ok(body),
                3 if answers == self.serial => {
                    return Err(io::Error::new(
                        io::ErrorKind::NotConnected,
                        "there is no timesyncd on the bus",
                    ));
                }
                _ => {}
            }
        }
        Err(nonsense("the bus does not answer the question"))
    }

    /// Kind of the next message, the serial number that it answers, and its body.
    fn receive(&mut self) -> io::Result<(u8, u32, Vec<u8>)> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        if head[0] != b'l' || head[3] != 1 {
            return Err(nonsense("what answers is no message bus of this byte order"));
        }
        let length =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (body, fields) = (length(4), length(12));
        if body > LONGEST || fields > LONGEST {
            return Err(nonsense("the bus sends a message that is too long"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        let answers = answered(&rest[..fields])?;
        Ok((head[1], answers, rest.split_off(fields.next_multiple_of(8))))
    }
}

/// The serial number that a message answers (header field 5); 0 if it answers none.
fn answered(fields: &[u8]) -> io::Result<u32> {
    let mut read = Reader { bytes: fields, at: 0 };
    while read.at < fields.len() {
        read.align(8);
        if read.at >= fields.len() {
            break;
        }
        let code = read.u8()?;
        match (code, read.signature()?.as_str()) {
            (5, "u") => return read.u32(),
            (_, "u") => drop(read.u32()?),
            (_, "s" | "o") => drop(read.text()?),
            (_, "g") => drop(read.signature()?),
            _ => return Err(nonsense("the bus sends a header field of an unknown kind")),
        }
    }
    Ok(0)
}

/// A method call with strings for arguments, in little-endian order.
fn call(serial: u32, to: &str, object: &str, interface: &str, method: &str, arguments: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for argument in arguments {
        put(&mut body, argument);
    }
    let mut fields = Vec::new();
    for (code, kind, value) in [(1, 'o', object), (6, 's', to), (2, 's', interface), (3, 's', method)] {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1, kind as u8, 0]);
        put(&mut fields, value);
    }
    if !arguments.is_empty() {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([8, 1, b'g', 0, arguments.len() as u8]);
        fields.extend(arguments.iter().map(|_| b's').chain([0]));
    }
    let mut message = vec![b'l', 1, 0, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend((fields.len() as u32).to_le_bytes());
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.bytes().chain([0]));
}

/// Reads marshalled values; every value is aligned to its size.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The value of a variant that must have this signature.
    fn variant(bytes: &'a [u8], wanted: &str) -> io::Result<Reader<'a>> {
        let mut read = Reader { bytes, at: 0 };
        let found = read.signature()?;
        if found == wanted { Ok(read) } else { Err(nonsense("the bus answers with a value of another kind")) }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.align(N);
        let found = self.bytes.get(self.at..self.at + N).and_then(|b| b.try_into().ok());
        self.at += N;
        found.ok_or_else(|| nonsense("the bus sends too little"))
    }

    fn skip(&mut self, bytes: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(bytes).ok_or_else(|| nonsense("the bus sends too little"))?;
        let found = self.bytes.get(self.at..end).ok_or_else(|| nonsense("the bus sends too little"))?;
        self.at = end;
        Ok(found)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.skip(length)?).into_owned();
        self.skip(1)?;
        Ok(text)
    }

    fn signature(&mut self) -> io::Result<String> {
        let length = self.u8()? as usize;
        let text = String::from_utf8_lossy(self.skip(length)?).into_owned();
        self.skip(1)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixListener;

    /// A variant with an answer that came `packets` times and found the clock `behind` µs behind.
    fn message(leap: u32, packets: u64, behind: u64) -> Vec<u8> {
        let mut bytes = vec![18];
        bytes.extend(b"(uuuuittayttttbtt)\0");
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        for number in [leap, 4, 4, 2, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        for micros in [1_000u64, 500] {
            bytes.extend(micros.to_le_bytes());
        }
        bytes.extend(4u32.to_le_bytes());
        bytes.extend([192, 0, 2, 1]);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let origin = 1_700_000_000_000_000u64;
        for micros in [origin, origin + behind + 5_000, origin + behind + 5_000, origin + 10_000] {
            bytes.extend(micros.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        for number in [packets, 3] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    fn variant_of(text: &str) -> Vec<u8> {
        let mut bytes = vec![1, b's', 0];
        put(&mut bytes, text);
        bytes
    }

    #[test]
    fn the_newest_answer_is_read_with_its_sign() {
        let found = word(&message(0, 5, 250), "ntp.example").unwrap();
        assert!(found.synchronised, "{found:?}");
        assert_eq!((found.offset_ns, found.error_ns), (Some(250_000), Some(6_000_000)));
        let not_yet = word(&message(0, 0, 0), "").unwrap();
        assert_eq!((not_yet.synchronised, not_yet.offset_ns), (false, None));
        assert!(!word(&message(3, 5, 0), "x").unwrap().synchronised);
    }

    /// A bus with a timesyncd that answers three calls, or with none.
    fn bus(present: bool) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert!(line.starts_with("\0AUTH EXTERNAL "), "{line:?}");
            stream.get_mut().write_all(b"OK 0123\r\n").unwrap();
            stream.read_line(&mut line).unwrap();
            for (serial, body) in
                [(1, variant_of("hello")), (2, message(0, 5, 250)), (3, variant_of("ntp.example"))]
            {
                let mut head = [0; 16];
                if stream.read_exact(&mut head).is_err() {
                    return;
                }
                let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
                let mut rest = vec![0; length(12).next_multiple_of(8) + length(4)];
                stream.read_exact(&mut rest).unwrap();
                let kind = if present || serial == 1 { 2 } else { 3 };
                let mut answer = vec![b'l', kind, 0, 1];
                answer.extend((body.len() as u32).to_le_bytes());
                answer.extend([9, 0, 0, 0, 8, 0, 0, 0, 5, 1, b'u', 0]);
                answer.extend(u32::to_le_bytes(serial));
                answer.extend(body);
                stream.get_mut().write_all(&answer).unwrap();
            }
        });
        (dir, path)
    }

    #[test]
    fn a_bus_is_asked_and_understood() {
        let (_dir, path) = bus(true);
        let found = ask(&path).unwrap();
        assert_eq!((found.synchronised, found.reference.as_deref()), (true, Some("ntp.example")));
        let (_dir, path) = bus(false);
        assert_eq!(ask(&path).unwrap_err().kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn a_call_is_marshalled_as_the_specification_has_it() {
        let sent = call(7, "a.b", "/c", "d.e", "F", &["x"]);
        assert_eq!(&sent[..4], [b'l', 1, 0, 1]);
        assert_eq!(sent[4..8], 6u32.to_le_bytes());
        assert_eq!(sent[8..12], 7u32.to_le_bytes());
        let fields = u32::from_le_bytes(sent[12..16].try_into().unwrap()) as usize;
        assert_eq!(sent.len(), 16 + fields.next_multiple_of(8) + 6);
        assert_eq!(&sent[sent.len() - 6..], [1, 0, 0, 0, b'x', 0]);
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = word(&answer, "");
            let _ = answered(&answer);
        }
    }
}
