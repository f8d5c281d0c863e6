//! Documents: a text is a text to every model; a PDF, or a file that Anthropic keeps, is one that no upstream can read.
//!
//! What cannot be read is refused where the user sends it. Of earlier messages, and of what a tool puts out, a note stands in its
//! place: those come again with each request, and would end the conversation for good.
//! Source of the sources: `document_block_param.py` and its neighbours in <https://github.com/anthropics/anthropic-sdk-python>.

use provider::{InvalidRequest, Text};

use super::{
    content,
    turns::{Part, Turns},
};
use crate::node::{Node, shown};

/// What a model is told in place of a document.
const UNREADABLE: &str = "[A document stands here whose content cannot be read: only documents of plain text can be.]";

/// A document that the user says something with.
pub(super) fn said_by_user<'a>(turns: &mut Turns<'a>, node: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
    let document = Document::read(node)?;
    document.title(&mut turns.parts);
    match document.content {
        Content::Parts(parts) => turns.parts.extend(parts),
        Content::Unreadable => {
            turns.parts.push(Part::Text(UNREADABLE, Text::default()));
            // What stands beside results of tools was put there by a program, which shall go on.
            if turns.results.is_empty() {
                turns.unreadable = Some(node.wrong(
                    "is a document that no upstream can read: send its text as a text block, or its pages as image blocks",
                ));
            }
        }
    }
    Ok(())
}

/// A document that a tool puts out: its texts become what is `said`, its images `parts` of the user's message.
pub(super) fn said_by_tool<'a>(
    parts: &mut Vec<Part<'a>>,
    said: &mut Vec<Part<'a>>,
    node: &Node<'_, 'a>,
) -> Result<(), InvalidRequest> {
    let document = Document::read(node)?;
    document.title(said);
    match document.content {
        Content::Parts(all) => {
            for part in all {
                if matches!(part, Part::Text(..)) { said.push(part) } else { parts.push(part) }
            }
        }
        Content::Unreadable => said.push(Part::Text(UNREADABLE, Text::default())),
    }
    Ok(())
}

struct Document<'a> {
    /// What it is called, and what is said about it.
    about: [Option<Text<'a>>; 2],
    content: Content<'a>,
}

enum Content<'a> {
    Parts(Vec<Part<'a>>),
    Unreadable,
}

impl<'a> Document<'a> {
    fn read(node: &Node<'_, 'a>) -> Result<Self, InvalidRequest> {
        let [source, title, context] = node.members(["source", "title", "context"])?;
        let source = source.ok_or_else(|| node.lacks("source", "send the text of the document"))?;
        let [title, context] = [title, context].map(|about| about.map(|about| about.text()).transpose());
        Ok(Self { about: [title?, context?], content: Content::read(&source)? })
    }

    fn title(&self, parts: &mut Vec<Part<'a>>) {
        for (words, text) in [("Document: ", self.about[0]), ("About the document: ", self.about[1])] {
            parts.extend(text.filter(|text| !text.raw.is_empty()).map(|text| Part::Text(words, text)));
        }
    }
}

impl<'a> Content<'a> {
    fn read(source: &Node<'_, 'a>) -> Result<Self, InvalidRequest> {
        let [kind, data, content] = source.members(["type", "data", "content"])?;
        let kind = kind.ok_or_else(|| source.lacks("type", "use text or content"))?;
        let said = kind.text()?.decoded();
        match &*said {
            "text" => {
                let data = data.ok_or_else(|| source.lacks("data", "send the text"))?;
                Ok(Self::Parts(vec![Part::Text("", data.filled_text()?)]))
            }
            "content" => {
                let content = content.ok_or_else(|| source.lacks("content", "send a string or content blocks"))?;
                blocks(&content).map(Self::Parts)
            }
            "base64" | "url" | "file" => Ok(Self::Unreadable),
            other => Err(kind.wrong(format_args!("is {:?}: use text or content", shown(other)))),
        }
    }
}

/// A content that is texts and images.
fn blocks<'a>(content: &Node<'_, 'a>) -> Result<Vec<Part<'a>>, InvalidRequest> {
    if content.first() != b'[' {
        return Ok(vec![Part::Text("", content.filled_text()?)]);
    }
    let mut parts = Vec::new();
    content.each(|block| {
        let [kind, text, source] = block.members(["type", "text", "source"])?;
        let kind = kind.ok_or_else(|| block.lacks("type", "use text or image"))?;
        let said = kind.text()?.decoded();
        match &*said {
            "text" => {
                let text = text.ok_or_else(|| block.lacks("text", "send the text"))?;
                parts.push(Part::Text("", text.filled_text()?));
            }
            "image" => parts.push(content::image(&block, source)?),
            other => return Err(kind.wrong(format_args!("is {:?}: use text or image", shown(other)))),
        }
        Ok(())
    })?;
    Ok(parts)
}
