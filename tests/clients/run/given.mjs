// What every client is given: where the API is, a token, and a customer to follow.
const [url, socketUrl, token, customerId, schemaFile, relayFolder] = process.argv.slice(2);

export const given = { url, socketUrl, token, customerId, schemaFile, relayFolder };
export const headers = { Authorization: `Bearer ${token}` };

export const PAGE = `
  query Page($first: Int!, $after: String) {
    customers(first: $first, after: $after, orderBy: { field: NAME }) {
      edges { cursor node { id name balance { amount currency } service { id package { id name } } } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }`;
export const RENAME = `
  mutation Rename($input: CustomerUpdateInput!) {
    customerUpdate(input: $input) { customer { id name } errors { code message field } }
  }`;
export const FOLLOW = `
  subscription Follow($id: ID!) { customerChanged(customerId: $id) { id name } }`;

/** Send a document without any client. */
export const post = async (query, variables) => {
  const answer = await fetch(url, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return (await answer.json()).data;
};

export const rename = (name) => post(RENAME, { input: { customerId, name } });

/** The first value of `customerChanged` with a new name, while the customer is renamed again and again: what comes first
 *  is how things stand. `follow` is given where values go. By its name the customer stays the first of the list. */
export const firstWhileRenaming = async (name, follow) => {
  let over = false;
  const renaming = (async () => {
    for (let count = 0; !over; count += 1) {
      await new Promise((go) => setTimeout(go, 300));
      await rename(`Aa ${name} ${count}`);
    }
  })();
  try {
    return await new Promise((resolve, reject) =>
      follow((value) => value.name.startsWith(`Aa ${name} `) && resolve(value), reject),
    );
  } finally {
    over = true;
    await renaming;
  }
};
