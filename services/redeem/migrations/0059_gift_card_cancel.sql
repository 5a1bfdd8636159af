-- A gift card that points bought goes back, unused: the kind of the line by which its money does. By itself, for it is used below.

ALTER TYPE gift_card_kind ADD VALUE 'cancel';
