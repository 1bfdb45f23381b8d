use super::*;
use proptest::prelude::*;

fn matches(patterns: &str, path: &str) -> bool {
    let patterns: Vec<&str> = patterns.split_whitespace().collect();
    Matcher::new(&patterns).unwrap().matches(path)
}

#[test]
fn patterns_mean_what_docker_says_they_mean() {
    for (patterns, path, expected) in [
        ("**", "file", true),
        ("**", "a/b", true),
        ("**/", "a/b", true),
        ("**/**", "a/b", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/a/b", true),
        ("dir/**", "dir", false),
        ("dir/**/", "dir/a", true),
        ("**/dir", "dir", true),
        ("**/dir", "a/b/dir", true),
        ("**/dir", "a/dirx", false),
        ("**/dir", "xdir", false),
        ("**/dir", "a/dir/file", true),
        ("**/dir/**", "dir/file", true),
        ("**/dir/**", "a/dir/b/c", true),
        ("**/dir/**", "dir", false),
        ("**file", "a/xfile", true),
        ("**.go", "a/b.go", true),
        ("**/*.go", "b.go", true),
        ("**/*.go", "a/b/c.go", true),
        ("**/*.go", "a/b/c.gox", false),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "a/xb", false),
        ("a**b", "ab", true),
        ("a**b", "axb", false),
        ("a**b", "ax/b", true),
        ("*", "a", true),
        ("*", "a/b", true),
        ("*/b", "a/b", true),
        ("*/b", "b", false),
        ("a*", "abc", true),
        ("a*", "b/a", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("a", "a/b/c", true),
        ("a/b", "a", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        ("[.]x", ".x", true),
        ("[\\]]x", "]x", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a.b", "axb", false),
        ("a+(b)|$", "a+(b)|$", true),
        ("./a/../b", "b", true),
        ("a !a", "a", false),
        ("a !a/b", "a/b", false),
        ("a !a/b", "a/c", true),
        ("a !a/b a/b/c", "a/b/c", true),
        ("a !a/b a/b/c", "a/b/d", false),
        ("!a", "a", false),
        ("* !*.md", "x.md", false),
        ("* !*.md", "a/x.md", true),
        ("* !*.md secret.md", "secret.md", true),
        ("한*", "한국", true),
        ("?", "한", true),
    ] {
        assert_eq!(matches(patterns, path), expected, "{patterns:?} {path:?}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    let refused = |pattern: &str| Matcher::new(&[pattern]).unwrap_err();
    assert_eq!(refused("!"), InvalidPattern::Exclamation);
    for pattern in ["[", "a[", "[]a]", "[-]", "[a-]", "[a", "a\\", "[^]"] {
        assert_eq!(refused(pattern), InvalidPattern::Syntax, "{pattern:?}");
    }
    assert_eq!(refused(&"a".repeat(5000)), InvalidPattern::Syntax);
}

#[test]
fn an_ignore_file_is_read_line_by_line() {
    let text = b"\xef\xbb\xbf# comment\n\n  a/ \n/b/../c\r\n! /d\n #e\n/\n!\nx y\n";
    assert_eq!(read(text), ["a", "c", "!d", "#e", "/", "!", "x y"]);
    assert_eq!(read(b""), [""; 0]);
}

#[test]
fn paths_are_cleaned_as_go_does() {
    for (path, expected) in [
        ("", "."),
        ("a//b/", "a/b"),
        ("./a/.", "a"),
        ("a/../../b", "../b"),
        ("/../a", "/a"),
        ("/", "/"),
        ("..", ".."),
        ("a/..", "."),
    ] {
        assert_eq!(clean(path), expected, "{path:?}");
    }
}

#[test]
fn a_directory_is_passed_over_only_if_nothing_in_it_is_taken_back() {
    let covers = |patterns: &[&str], directory| Matcher::new(patterns).unwrap().covers(directory);
    assert!(covers(&["node_modules"], "node_modules"));
    assert!(covers(&["*", "!src"], "docs"));
    assert!(covers(&["*", "!src/a"], "docs"));
    assert!(!covers(&["*", "!src/a"], "src"));
    assert!(!covers(&["*", "!src/*/b"], "src/x"));
    assert!(covers(&["*", "!src/*/b"], "docs/x"));
    assert!(!covers(&["*", "!**/b"], "docs"));
    assert!(!covers(&["*", "!a/**"], "a/b"));
    assert!(covers(&["*", "!a/**"], "b"));
}

/// Short paths and patterns, so that they meet.
const PATH: &str = "[ab]{1,2}(/[ab]{1,2}){0,3}";
const PATTERN: &str = "!?(\\*\\*/)?[ab*?]{1,3}(/[ab*?]{1,3}){0,2}(/\\*\\*)?";

proptest! {
    /// A walk that passes over directories sees what one that looks at everything sees; without `!` it is
    /// what asking for the path alone finds. With it Docker's two ways differ in rare cases, and so do ours:
    /// what is taken back above before it was meant counts only for the second.
    #[test]
    fn walking_finds_what_asking_finds(
        patterns in prop::collection::vec(PATTERN, 1..5),
        path in PATH,
    ) {
        let matcher = Matcher::new(&patterns).unwrap();
        let mut above = Above::default();
        let mut expected = None;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let place = &path[..end];
            let (matched, own) = matcher.enter(place, &above);
            above = own;
            if end < path.len() {
                let over = matched && matcher.covers(place);
                let none = !matched && !matcher.may_match_below(place);
                expected = expected.or(over.then_some(true)).or(none.then_some(false));
            } else {
                prop_assert_eq!(expected.unwrap_or(matched), matched);
                if !matcher.takes_back {
                    prop_assert_eq!(matched, matcher.matches(&path));
                }
            }
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in "[ab!*?\\[\\]\\\\^/.-]{0,12}", path in PATH) {
        if let Ok(matcher) = Matcher::new(&[&text]) {
            let _ = matcher.matches(&path);
        }
        let again = read(text.as_bytes());
        prop_assert_eq!(read(again.join("\n").as_bytes()).len(), again.len());
    }
}
