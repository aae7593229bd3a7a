//! A property for the device tree's node `/chosen` (Devicetree Specification 0.4, chapter 5: the
//! flattened format; all numbers big-endian).

use alloc::vec::Vec;

/// Length of the header, as far as its fields say where the rest is.
pub const HEADER_BYTES: usize = 40;

/// The whole length of the tree with this header; `None` where it is no header.
#[must_use]
pub fn total_bytes(header: &[u8]) -> Option<usize> {
    (u32_at(header, 0)? == MAGIC).then_some(())?;
    usize::try_from(u32_at(header, 4)?).ok()
}

/// A copy of `tree` whose node `/chosen` has the property `name`; one of that name that it had
/// goes. `None` where the tree is broken, or older than version 16 of the format.
#[must_use]
pub fn with_chosen_property(tree: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let tree = tree.get(..total_bytes(tree)?)?;
    let field = |at| usize::try_from(u32_at(tree, at)?).ok();
    // What it is, and what it can be read as.
    (field(20)? >= COMPATIBLE_VERSION && field(24)? <= VERSION).then_some(())?;
    let structure = tree.get(field(8)?..)?;
    let strings = field(12)?;
    let strings = tree.get(strings..strings.checked_add(field(32)?)?)?;
    let reserved = reserved_memory(tree.get(field(16)?..)?)?;

    let structure = add_property(structure, strings, name, value)?;
    let mut out = alloc::vec![0; HEADER_BYTES];
    out.extend_from_slice(reserved);
    let at_structure = out.len();
    out.extend_from_slice(&structure);
    let at_strings = out.len();
    out.extend_from_slice(strings);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    // In the order of section 5.2; the two unnamed ones are the last compatible version and the
    // processor that boots.
    let header = [
        usize::try_from(MAGIC).ok()?,
        out.len(),
        at_structure,
        at_strings,
        HEADER_BYTES,
        VERSION,
        COMPATIBLE_VERSION,
        field(28)?,
        out.len() - at_strings,
        at_strings - at_structure,
    ];
    for (place, field) in out.chunks_exact_mut(4).zip(header) {
        place.copy_from_slice(&u32::try_from(field).ok()?.to_be_bytes());
    }
    Some(out)
}

/// The memory reservations: pairs of 64 bits, the last of them zero (section 5.3).
fn reserved_memory(block: &[u8]) -> Option<&[u8]> {
    let last = block.chunks_exact(16).position(|pair| pair == [0; 16])?;
    block.get(..(last + 1) * 16)
}

/// Copies the structure block (section 5.4) with the property in `/chosen`, which is made at the
/// end of the root node where there is none. The name will stand behind `strings`.
fn add_property(block: &[u8], strings: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(block.len() + value.len() + 32);
    let mut property = Vec::new();
    push(&mut property, TOKEN_PROPERTY);
    push(&mut property, u32::try_from(value.len()).ok()?);
    push(&mut property, u32::try_from(strings.len()).ok()?);
    property.extend_from_slice(value);
    property.resize(property.len().next_multiple_of(4), 0);

    let (mut rest, mut depth, mut in_chosen, mut done) = (block, 0_usize, false, false);
    loop {
        let token = u32_at(rest, 0)?;
        let length = match token {
            TOKEN_BEGIN_NODE => 4 + text(rest.get(4..)?)?.len() + 1,
            TOKEN_PROPERTY => 12_usize.checked_add(usize::try_from(u32_at(rest, 4)?).ok()?)?,
            TOKEN_END_NODE | TOKEN_NOP | TOKEN_END => 4,
            _ => return None,
        };
        let (piece, behind) = rest.split_at_checked(length.checked_next_multiple_of(4)?)?;
        rest = behind;
        match token {
            TOKEN_BEGIN_NODE => {
                depth += 1;
                out.extend_from_slice(piece);
                if depth == 2 && text(piece.get(4..)?)? == b"chosen" {
                    out.extend_from_slice(&property);
                    (in_chosen, done) = (true, true);
                }
            }
            TOKEN_END_NODE => {
                if depth == 1 && !done {
                    push(&mut out, TOKEN_BEGIN_NODE);
                    out.extend_from_slice(b"chosen\0\0");
                    out.extend_from_slice(&property);
                    push(&mut out, TOKEN_END_NODE);
                }
                in_chosen &= depth > 2;
                depth = depth.checked_sub(1)?;
                out.extend_from_slice(piece);
            }
            TOKEN_PROPERTY if in_chosen && depth == 2 => {
                let offset = usize::try_from(u32_at(piece, 8)?).ok()?;
                if text(strings.get(offset..)?)? != name.as_bytes() {
                    out.extend_from_slice(piece);
                }
            }
            TOKEN_END => {
                out.extend_from_slice(piece);
                return (depth == 0).then_some(out);
            }
            _ => out.extend_from_slice(piece),
        }
    }
}

/// What comes before the null.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes
        .split(|&byte| byte == 0)
        .next()
        .filter(|text| text.len() < bytes.len())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    crate::bytes::array(bytes, at).map(u32::from_be_bytes)
}

fn push(out: &mut Vec<u8>, token: u32) {
    out.extend_from_slice(&token.to_be_bytes());
}

const MAGIC: u32 = 0xd00d_feed;

/// The version of the format that is written.
const VERSION: usize = 17;

/// The oldest version that is read, and that can read what is written.
const COMPATIBLE_VERSION: usize = 16;

const TOKEN_BEGIN_NODE: u32 = 1;
const TOKEN_END_NODE: u32 = 2;
const TOKEN_PROPERTY: u32 = 3;
const TOKEN_NOP: u32 = 4;
const TOKEN_END: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const IBFT: &[u8] = b"five!";

    /// A node of the structure block with properties, whose names are at these offsets.
    fn node(name: &str, properties: &[(u32, &[u8])], children: &[Vec<u8>]) -> Vec<u8> {
        let mut out = TOKEN_BEGIN_NODE.to_be_bytes().to_vec();
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        for (name, value) in properties {
            push(&mut out, TOKEN_NOP);
            push(&mut out, TOKEN_PROPERTY);
            push(&mut out, value.len() as u32);
            push(&mut out, *name);
            out.extend_from_slice(value);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out.extend(children.concat());
        push(&mut out, TOKEN_END_NODE);
        out
    }

    /// A tree with one memory reservation, and the strings `model` and `bootargs`.
    fn tree(root: &[u8]) -> Vec<u8> {
        let strings = b"model\0bootargs\0";
        let reserved = [vec![1; 16], vec![0; 16]].concat();
        let structure = [root, &TOKEN_END.to_be_bytes()].concat();
        let (at_structure, length) = (40 + reserved.len(), structure.len());
        let at_strings = at_structure + length;
        // As firmware leaves it, with room for more behind the strings.
        let total = at_strings + strings.len() + 100;
        let header = [
            MAGIC as usize,
            total,
            at_structure,
            at_strings,
            40,
            17,
            16,
            3,
            strings.len(),
            length,
        ];
        let mut out: Vec<u8> = header
            .iter()
            .flat_map(|field| (*field as u32).to_be_bytes())
            .collect();
        out.extend(reserved);
        out.extend(structure);
        out.extend(strings);
        out.resize(total, 0xee);
        out
    }

    /// `/node/property=value` for every property, by a walk of its own.
    fn properties(tree: &[u8]) -> Vec<(alloc::string::String, Vec<u8>)> {
        let word = |at: usize| u32_at(tree, at).unwrap() as usize;
        assert_eq!(word(4), tree.len());
        assert_eq!(word(12) + word(32), tree.len());
        assert_eq!(word(8) + word(36), word(12));
        assert_eq!(
            tree[word(16)..word(16) + 32],
            [vec![1; 16], vec![0; 16]].concat()
        );
        assert_eq!(word(28), 3, "the processor that boots");
        let string = |at: usize| {
            str::from_utf8(tree[at..].split(|byte| *byte == 0).next().unwrap()).unwrap()
        };
        let (mut at, mut path, mut found) = (word(8), vec![], vec![]);
        loop {
            let token = word(at) as u32;
            at += 4;
            match token {
                TOKEN_BEGIN_NODE => {
                    path.push(string(at));
                    at = (at + string(at).len() + 1).next_multiple_of(4);
                }
                TOKEN_END_NODE => drop(path.pop().unwrap()),
                TOKEN_PROPERTY => {
                    let (length, name) = (word(at), string(word(12) + word(at + 4)));
                    let value = tree[at + 8..at + 8 + length].to_vec();
                    found.push((alloc::format!("{}/{name}", path.join("/")), value));
                    at = (at + 8 + length).next_multiple_of(4);
                }
                TOKEN_NOP => {}
                _ => {
                    assert_eq!((token, path.len()), (TOKEN_END, 0));
                    return found;
                }
            }
        }
    }

    fn owned(list: &[(&str, &[u8])]) -> Vec<(alloc::string::String, Vec<u8>)> {
        list.iter()
            .map(|(name, value)| ((*name).into(), value.to_vec()))
            .collect()
    }

    #[test]
    fn a_property_joins_the_others_of_chosen() {
        let chosen = node(
            "chosen",
            &[(6, b"quiet\0")],
            &[node("child", &[(0, b"x")], &[])],
        );
        let decoy = node("soc", &[], &[node("chosen", &[(6, b"no")], &[])]);
        let tree = tree(&node("", &[(0, b"board")], &[decoy, chosen]));
        let changed = with_chosen_property(&tree, "ibft", IBFT).unwrap();
        assert_eq!(
            properties(&changed),
            owned(&[
                ("/model", b"board"),
                ("/soc/chosen/bootargs", b"no"),
                ("/chosen/ibft", IBFT),
                ("/chosen/bootargs", b"quiet\0"),
                ("/chosen/child/model", b"x"),
            ])
        );
    }

    #[test]
    fn a_tree_without_chosen_gets_it() {
        let changed = with_chosen_property(&tree(&node("", &[(0, b"b")], &[])), "ibft", IBFT);
        assert_eq!(
            properties(&changed.unwrap()),
            owned(&[("/model", b"b"), ("/chosen/ibft", IBFT)])
        );
    }

    #[test]
    fn the_last_one_counts() {
        let tree = tree(&node("", &[], &[node("chosen", &[(0, b"b")], &[])]));
        let changed = with_chosen_property(&tree, "ibft", b"before").unwrap();
        let changed = with_chosen_property(&changed, "ibft", IBFT).unwrap();
        assert_eq!(
            properties(&changed),
            owned(&[("/chosen/ibft", IBFT), ("/chosen/model", b"b")])
        );
    }

    /// Nothing that firmware may have left there makes us read beyond it.
    #[test]
    fn broken_trees_are_left_alone() {
        let whole = tree(&node(
            "",
            &[(0, b"board")],
            &[node("chosen", &[(6, b"quiet")], &[])],
        ));
        assert!(with_chosen_property(&whole, "ibft", IBFT).is_some());
        assert_eq!(with_chosen_property(b"", "ibft", IBFT), None);
        assert_eq!(
            with_chosen_property(&whole[..whole.len() - 1], "ibft", IBFT),
            None
        );
        for at in 0..whole.len() - 100 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = with_chosen_property(&broken, "ibft", IBFT);
            }
        }
    }
}
