//! YAML text as a small tree that knows the line of everything in it: maps, lists and scalars, no more.
//!
//! A configuration needs no anchors, tags, or depth, so they are refused instead of expanded: a hostile file costs
//! time and memory in proportion to its size, which is limited too, and gets an error that names the line.

use super::finding::{Fault, Problem};
use super::read::excerpt;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// The longest configuration that is read, in bytes; documented ones have about 5 KiB.
pub(super) const MAX_BYTES: u64 = 64 * 1024;
/// The deepest nesting that is read; the deepest setting has four levels.
const MAX_DEPTH: usize = 16;

/// A value and the line where it begins, counted from 1; 0 when it is not from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing was written, or `null` or `~`.
    Null,
    /// The text of a number, a word, a switch: what it means is for the setting to say.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file, each key with its line; no key twice.
    Map(Vec<(String, usize, Node)>),
}

impl Node {
    /// The value of an environment variable or of a flag.
    pub(super) fn text(text: &str) -> Node {
        Node { line: 0, content: Content::Scalar(text.to_owned()) }
    }
}

/// Reads one YAML document; an empty one is `Null`.
///
/// Beside the tree come the faults that do not prevent reading on, such as a key that is there twice.
///
/// # Errors
///
/// The first fault after which the rest cannot be understood.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<Fault>), Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find('\0') {
        // The parser takes it for the end of the text and would drop the rest in silence.
        let line = 1 + text[..at].matches('\n').count();
        return Err(Fault { line, problem: Problem::Syntax("there is a NUL character".into()) });
    }
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| syntax_fault(&e, text))?;
        tree.take(event, span).map_err(|problem| Fault { line: span.start.line(), problem })?;
    }
    Ok((tree.root.unwrap_or(Node { line: 1, content: Content::Null }), tree.faults))
}

/// The parser's complaint, with the mend where the cause is a usual one.
fn syntax_fault(error: &ScanError, text: &str) -> Fault {
    let line = error.marker().line();
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let mend = if written.trim_start_matches(' ').starts_with('\t') {
        "; indent with spaces, not with tabs"
    } else if written.contains("]:") {
        "; an IPv6 address with brackets needs quotes: \"[2001:db8::1]:123\""
    } else {
        ""
    };
    Fault { line, problem: Problem::Syntax(format!("{}{mend}", error.info())) }
}

/// What is being built: the open maps and lists, outermost first. No recursion, so depth cannot exhaust the stack.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    faults: Vec<Fault>,
}

struct Open {
    node: Node,
    /// In a map: the key whose value comes next.
    key: Option<(String, usize)>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line();
        match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(Problem::Indirect("a tag")),
            Event::Alias(_) => Err(Problem::Indirect("an alias")),
            Event::Scalar(text, style, _, None) => {
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let content = if null { Content::Null } else { Content::Scalar(text.into_owned()) };
                self.put(Node { line, content })
            }
            Event::SequenceStart(_, None) => self.open(Node { line, content: Content::List(Vec::new()) }),
            Event::MappingStart(_, None) => self.open(Node { line, content: Content::Map(Vec::new()) }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.put(done.node),
                None => Ok(()),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Problem::Syntax("a second document begins here; a configuration is one document".into()))
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn open(&mut self, node: Node) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            return Err(Problem::TooDeep { limit: MAX_DEPTH });
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Problem> {
        let Some(Open { node: parent, key }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.content, key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(entries), Some((name, line))) => {
                match entries.iter().find(|(earlier, _, _)| *earlier == name) {
                    Some(&(_, first, _)) => {
                        self.faults
                            .push(Fault { line, problem: Problem::Repeated { key: excerpt(&name), first } });
                    }
                    None => entries.push((name, line, node)),
                }
            }
            (_, _) => match node.content {
                Content::Scalar(name) => *key = Some((name, node.line)),
                Content::Null => *key = Some(("null".into(), node.line)),
                _ => return Err(Problem::Syntax("a key must be a word, not a list or a map".into())),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, String) {
        let fault = parse(text).expect_err("must be refused");
        (fault.line, fault.problem.to_string())
    }

    #[test]
    fn every_value_knows_its_line() {
        let (root, faults) = parse("a:\n  b: 1\n  c:\n  - x\n  - 'y'\nd:\n").expect("is YAML");
        assert!(faults.is_empty());
        let Content::Map(top) = &root.content else { panic!("{root:?}") };
        let (name, line, a) = &top[0];
        assert_eq!((name.as_str(), *line), ("a", 1));
        let Content::Map(inner) = &a.content else { panic!("{a:?}") };
        assert_eq!(inner[0].2, Node { line: 2, content: Content::Scalar("1".into()) });
        let Content::List(items) = &inner[1].2.content else { panic!("{inner:?}") };
        assert_eq!(items[1], Node { line: 5, content: Content::Scalar("y".into()) });
        assert_eq!(top[1].2.content, Content::Null);
    }

    #[test]
    fn line_ends_and_byte_order_marks_do_not_matter() {
        let want = parse("a: 1\nb:\n- x\n").expect("is YAML");
        assert_eq!(parse("\u{feff}a: 1\r\nb:\r\n- x\r\n").expect("is YAML"), want);
        assert_eq!(parse("").expect("is empty").0.content, Content::Null);
        assert_eq!(parse("# nothing\n").expect("is empty").0.content, Content::Null);
    }

    #[test]
    fn a_repeated_key_is_a_fault_and_the_rest_is_read() {
        let (root, faults) = parse("a: 1\nb: 2\na: 3\nc: 4\n").expect("is YAML");
        assert_eq!(faults, [Fault { line: 3, problem: Problem::Repeated { key: "a".into(), first: 1 } }]);
        let Content::Map(entries) = root.content else { panic!() };
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn hostile_text_is_refused_with_its_line() {
        assert!(problem("a:\n\tb: 1\n").1.contains("spaces"), "{:?}", problem("a:\n\tb: 1\n"));
        assert_eq!(problem("a: &x [1]\nb: *x\n"), (2, Problem::Indirect("an alias").to_string()));
        assert_eq!(problem("a: !!python/object x\n").1, Problem::Indirect("a tag").to_string());
        assert_eq!(problem("a: 1\n---\nb: 2\n").0, 2);
        assert_eq!(problem("a: 1\nb\0: 2\n").0, 2);
        assert_eq!(problem("[a]: 1\n").0, 1);
        assert!(!problem("a: [1\n").1.is_empty());
        assert_eq!(problem("a: 1\n b: 2\n").0, 2);
    }

    #[test]
    fn depth_is_limited_however_it_is_written() {
        let n = 20_000;
        for deep in [
            "[".repeat(n),
            "{a: ".repeat(n),
            "- ".repeat(n),
            "? ".repeat(n),
            (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>(),
        ] {
            let fault = parse(&deep).expect_err("too deep");
            assert!(
                matches!(fault.problem, Problem::TooDeep { .. } | Problem::Syntax(_)),
                "{fault:?} for {:?}…",
                &deep[..8]
            );
        }
    }

    #[test]
    fn laughs_stay_small() {
        let mut text = String::from("a0: &a0 [lol, lol]\n");
        for i in 1..40 {
            text += &format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1);
        }
        assert_eq!(problem(&text), (2, Problem::Indirect("an alias").to_string()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[\\-\\[\\]{}:,#&*!|>'\"%@`?a-c0-9 \t\r\n\u{85}\u{2028}é]{0,80}") {
            let _ = parse(&text);
        }
    }
}
