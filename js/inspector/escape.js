/**
 * Texts of strangers with all that cannot be seen in them written out, so that what is read is what is there. Pure.
 */

/** Scripts in which a joiner, or a non-joiner, between two letters belongs to how a word is written. */
const JOINING = ["Arab", "Syrc", "Mong", "Deva", "Beng", "Guru", "Gujr", "Orya", "Taml", "Telu", "Knda", "Mlym", "Sinh"]
  .map((script) => `\\p{scx=${script}}`)
  .join("");

/** Of invisible characters those that are seen by what they do to their neighbours, with these. */
const IN_PLACE = [
  // emoji of several parts, each with the joiner that follows it
  String.raw`\p{Extended_Pictographic}\p{Emoji_Modifier}?[\ufe0e\ufe0f]?(?:\u200d(?=\p{Extended_Pictographic}))?`,
  String.raw`[0-9#*]\ufe0f?\u20e3`,
  String.raw`[${JOINING}][\u200c\u200d](?=[${JOINING}])`,
];

/** Control characters but tab and line ends, line separators, halves of characters, and all that is not drawn. */
const UNSEEN = String.raw`(?![\t\n\r])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]`;

const EITHER = new RegExp(`${IN_PLACE.join("|")}|(${UNSEEN})`, "gu");

/**
 * A text in which every character is written out that cannot be seen, or would change the order of those around it.
 * What it gives stays as it is when it is given to it again.
 * @param {string} text
 */
export const visible = (text) =>
  text
    .replace(/\r\n/g, "\n")
    .replace(EITHER, (found, unseen) => (unseen === undefined ? found : `⟨U+${hexOf(unseen)}⟩`));

/** @param {string} character */
const hexOf = (character) => (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
