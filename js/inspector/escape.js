/** Texts from strangers with invisible characters written out, so that a reader sees what is there. Pure. */

/** Scripts in which a joiner or non-joiner between two letters is part of a word's spelling. */
const JOINING = ["Arab", "Syrc", "Mong", "Deva", "Beng", "Guru", "Gujr", "Orya", "Taml", "Telu", "Knda", "Mlym", "Sinh"]
  .map((script) => `\\p{scx=${script}}`)
  .join("");

/** Invisible characters whose effect on their neighbours can be seen, with those neighbours. */
const IN_PLACE = [
  // emoji of several parts, each followed by its joiner
  String.raw`\p{Extended_Pictographic}\p{Emoji_Modifier}?[\ufe0e\ufe0f]?(?:\u200d(?=\p{Extended_Pictographic}))?`,
  String.raw`[0-9#*]\ufe0f?\u20e3`,
  String.raw`[${JOINING}][\u200c\u200d](?=[${JOINING}])`,
];

/** Control characters except tab and line ends, line separators, halves of characters, and everything not drawn. */
const UNSEEN = String.raw`(?![\t\n\r])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]`;

const EITHER = new RegExp(`${IN_PLACE.join("|")}|(${UNSEEN})`, "gu");

/**
 * A text with every character written out that is invisible or would change the order of those around it. Applying it
 * again changes nothing.
 * @param {string} text
 */
export const visible = (text) =>
  text
    .replace(/\r\n/g, "\n")
    .replace(EITHER, (found, unseen) => (unseen === undefined ? found : `⟨U+${hexOf(unseen)}⟩`));

/** @param {string} character */
const hexOf = (character) => (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
